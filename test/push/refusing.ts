import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { buildImage, seededBytes, seedRegistry, type BuiltImage } from '../../fixtures/images/index.ts'
import { AirgapError, parsePlatform } from '../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { outcomeOf } from '../content/engines.ts'

/** A registry for the length of a test. */
export async function registryForTest(): Promise<EmbeddedRegistry> {
  const registry = await startRegistry()
  onTestFinished(() => registry.close())
  return registry
}

/**
 * Stands in front of a registry and answers some requests itself: `rule` gives the status, or undefined to pass the
 * request on.
 * @returns host and port to speak to.
 */
export async function inFrontOf(
  registry: EmbeddedRegistry,
  rule: (method: string, path: string) => number | undefined,
): Promise<string> {
  const server = createServer((message, response) => {
    const { method = '', url = '', headers } = message
    const status = rule(method, url)
    if (status !== undefined) {
      message.resume()
      const errors = [{ code: status === 403 ? 'DENIED' : 'UNKNOWN', message: 'not this one' }]
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify({ errors }))
      return
    }
    const onwards = request(`${registry.url}${url}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    onwards.on('error', () => response.destroy())
    message.pipe(onwards)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Puts an image with layers of its own into a registry, as `NAME:1`. */
export async function seedImage(
  { store }: Pick<EmbeddedRegistry, 'store'>,
  name: string,
  options: { layers?: number; platform?: string } = {},
): Promise<BuiltImage> {
  const layers = options.layers ?? 1
  const built = await buildImage({
    platform: parsePlatform(options.platform ?? 'linux/amd64'),
    files: Object.fromEntries(
      Array.from({ length: layers }, (_, i) => [`file-${i}`, seededBytes(`${name} ${i}`, 500 + i)]),
    ),
    layers,
    compression: 'none',
  })
  seedRegistry(store, `${name}:1`, built)
  return built
}

/** The error that a promise is rejected with, which has to be ours. */
export async function failureOf(promise: Promise<unknown>): Promise<AirgapError> {
  const { reason, value } = await outcomeOf(promise)
  if (reason instanceof AirgapError) return reason
  throw new Error(`no AirgapError: ${String(reason)}, ${JSON.stringify(value)}`)
}
