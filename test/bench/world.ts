import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolder, scratch } from '../e2e/parts/scratch.ts'
import { startDockerRegistry, type Registry } from '../e2e/parts/registries.ts'
import { fillRegistry } from './input.ts'

/** What a bench runs in: a registry with the input, a folder for outputs, and fresh registries to push to. */
export interface World extends AsyncDisposable {
  /** `127.0.0.1:PORT` of the registry with the input. */
  source: string
  folder: string
  /** Starts an empty registry; what it holds goes away with it. */
  emptyRegistry(): Promise<Registry>
}

export async function makeWorld(say: (text: string) => void): Promise<World> {
  const stack = new AsyncDisposableStack()
  try {
    const temporary = stack.use(await scratch())
    // The input is kept from run to run: making it takes longer than a round.
    const store = join(await cacheFolder(), 'bench-input')
    await mkdir(store, { recursive: true })
    const registry = stack.use(await startDockerRegistry({ store, scratch: temporary.path }))
    say('making the input …')
    await fillRegistry(registry.host, temporary.path)
    const folder = join(temporary.path, 'work')
    await mkdir(folder)
    let count = 0
    const owned = stack.move()
    return {
      source: registry.host,
      folder,
      emptyRegistry: async () => {
        const target = join(temporary.path, `target-${(count += 1)}`)
        await mkdir(target)
        const started = await startDockerRegistry({ store: target, scratch: temporary.path })
        return {
          ...started,
          [Symbol.asyncDispose]: async () => {
            await started[Symbol.asyncDispose]()
            await rm(target, { recursive: true })
          },
        }
      },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}
