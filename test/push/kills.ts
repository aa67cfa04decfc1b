import type { AirgapError } from '../../src/errors.ts'
import { once } from 'node:events'
import { createServer, request as forward, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'vitest'
import { MemoryStore } from '../support/registry/memory-store.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { incompleteTags, pushTo } from './pushing.ts'

/** When the registry dies: before it has seen the last request, or after it did what that asks for. */
export type Death = 'before' | 'after'

/** In front of a registry: from its `at`th request on, nobody answers any more. */
async function mortal(
  host: string,
  at: number,
  death: Death,
): Promise<{ host: string; server: Server; seen: () => number }> {
  const [hostname, port] = host.split(':')
  let seen = 0
  const server = createServer((request, response) => {
    seen += 1
    const isLast = seen === at
    if (seen > at || (isLast && death === 'before')) return void request.socket.destroy()
    const { method, url, headers } = request
    const sent = forward({ hostname, port, method, path: url, headers, agent: false }, (answer) => {
      if (isLast) {
        answer.resume()
        answer.once('end', () => request.socket.destroy())
        return
      }
      response.writeHead(answer.statusCode ?? 0, answer.headers)
      answer.pipe(response)
    })
    // A push that has failed lets go of its other requests, wherever those are.
    sent.on('error', () => response.destroy())
    request.pipe(sent)
    return undefined
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, server, seen: () => seen }
}

/**
 * Pushes again and again, each time with the registry dying at another request, and expects that no tag points to
 * something incomplete, and that the next push completes it.
 *
 * @param step how many requests further on it dies each time; 1 for all of them.
 */
export async function expectCompletion(
  bundle: string,
  death: Death,
  { from, step }: { from: number; step: number },
): Promise<void> {
  const complete = { tags: 2, missing: [] }
  for (let at = from; ; at += step) {
    const store = new MemoryStore()
    await using registry = await startRegistry({ store })
    const proxy = await mortal(registry.host, at, death)
    const end = await pushTo(bundle, proxy.host, { attempts: 1 }).catch((error: unknown) => error)
    proxy.server.closeAllConnections()
    proxy.server.close()
    if (proxy.seen() < at) {
      expect(end).toMatchObject({ complete: true })
      expect(incompleteTags(store)).toEqual(complete)
      expect(at).toBeGreaterThan(20)
      return
    }
    expect(['NETWORK', 'INCOMPLETE']).toContain((end as AirgapError).code)
    expect(incompleteTags(store).missing).toEqual([])
    expect(await pushTo(bundle, registry.host)).toMatchObject({ complete: true })
    expect(incompleteTags(store)).toEqual(complete)
  }
}
