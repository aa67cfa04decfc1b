import { standIns } from '../../fixtures/images/index.ts'
import { startRegistry, type EmbeddedRegistry } from './registry/registry.ts'

/** An embedded registry that stands for every registry outside, and the flags that lead to it. */
export interface Internet extends AsyncDisposable {
  registry: EmbeddedRegistry
  mirrors: string[]
}

export async function startInternet(): Promise<Internet> {
  const { store } = await standIns()
  const registry = await startRegistry({ store })
  const mirrors = ['registry.k8s.io', 'docker.io', 'ghcr.io'].flatMap((host) => [
    '--mirror',
    `${host}=${registry.host}/${host}`,
  ])
  return {
    registry,
    mirrors: [...mirrors, '--resolve-from', 'mirror'],
    [Symbol.asyncDispose]: () => registry.close(),
  }
}
