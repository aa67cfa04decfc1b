import { once } from 'node:events'
import { connect as connectTo, createServer, type AddressInfo, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { Connection } from '../../../src/registry/net/connection.ts'
import type { RegistryNotice } from '../../../src/registry/notices.ts'
import { RemoteRepository } from '../../../src/registry/remote-repository.ts'
import type { Repository } from '../../../src/registry/repository.ts'
import { habitsOf, type UploadHabits } from '../../../src/registry/blobs/uploads/habits.ts'
import {
  startRegistry,
  type EmbeddedRegistry,
  type EmbeddedRegistryOptions,
} from '../../support/registry/registry.ts'
import { makeClient, sampleBytes } from '../../support/client.ts'

/** Content, and what an upload needs of it. */
export interface Sample {
  bytes: Buffer
  descriptor: { digest: ReturnType<typeof digestOf>; size: number }
  /** Opens it from a position on; how often is counted in `opened`. */
  open: (from: number) => AsyncGenerator<Uint8Array>
  opened: number[]
}

export function sample(size: number, piece = 16 * 1024): Sample {
  const bytes = sampleBytes(size)
  const opened: number[] = []
  return {
    bytes,
    descriptor: { digest: digestOf(bytes), size },
    opened,
    async *open(from) {
      opened.push(from)
      for (let at = from; at < size; at += piece) yield bytes.subarray(at, at + piece)
    },
  }
}

export interface Target {
  registry: EmbeddedRegistry
  repository: Repository
  habits: UploadHabits
  notices: RegistryNotice[]
  /** `METHOD status`, one for each request; `METHOD status N` where N bytes came with it. */
  log(): string[]
  /** The stored bytes. */
  stored(digest: string): Promise<Buffer | undefined>
}

/** An embedded registry, and a repository of it at `host`, with sizes that suit small blobs. */
export async function target(
  options: EmbeddedRegistryOptions,
  sizes: Partial<UploadHabits> = {},
  host?: (registry: EmbeddedRegistry) => Promise<string>,
): Promise<Target> {
  const registry = await startRegistry(options)
  onTestFinished(() => registry.close())
  const { repository, habits, notices } = connect((await host?.(registry)) ?? registry.host, sizes)
  return {
    registry,
    repository,
    habits,
    notices,
    log: () =>
      registry.requests
        .filter(({ path }) => path.startsWith('/v2/'))
        .map(
          ({ method, status, bytesReceived }) =>
            `${method} ${status}${bytesReceived > 0 ? ` ${bytesReceived}` : ''}`,
        ),
    async stored(digest) {
      const found = registry.store.blob('app', digest as Sample['descriptor']['digest'])
      if (!found) return undefined
      const pieces: Uint8Array[] = []
      for await (const piece of found.read(0, found.size)) pieces.push(piece)
      return Buffer.concat(pieces)
    },
  }
}

/** A client of its own, as a run of its own would have. */
export function connect(
  host: string,
  sizes: Partial<UploadHabits> = {},
): { repository: Repository; habits: UploadHabits; notices: RegistryNotice[] } {
  const client = makeClient()
  const connection = new Connection(host, client.shared)
  const habits = Object.assign(habitsOf(connection), { floor: 16 * 1024, ...sizes })
  return { repository: new RemoteRepository(connection, 'app', client), habits, notices: client.notices }
}

export const KIB = 1024
export const MIB = 1024 * 1024

/** A fault of the network: when so many bytes have passed that way, the connection that carries them is cut. */
export interface Fault {
  way: 'up' | 'down'
  after: number
}

/** A TCP proxy that cuts connections, each fault once; the bytes before a cut arrive. Gives its `HOST:PORT`. */
export async function cuttingProxy(to: string, faults: readonly Fault[]): Promise<string> {
  const [hostname, port] = to.split(':')
  const left = faults.toSorted((a, b) => a.after - b.after)
  const passed = { up: 0, down: 0 }
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connectTo(Number(port), hostname)
    const pass = (from: Socket, into: Socket, way: Fault['way']): void => {
      sockets.add(from)
      from.on('error', () => into.destroy())
      from.on('close', () => into.destroy())
      from.on('data', (bytes: Buffer) => {
        const at = left.findIndex((fault) => fault.way === way && fault.after < passed[way] + bytes.length)
        if (at < 0) {
          passed[way] += bytes.length
          into.write(bytes)
          return
        }
        const [fault] = left.splice(at, 1)
        const rest = Math.max(0, (fault?.after ?? 0) - passed[way])
        passed[way] += rest
        from.removeAllListeners('data')
        from.removeAllListeners('close')
        into.end(bytes.subarray(0, rest), () => {
          from.destroy()
          if (way === 'down') into.destroy()
        })
      })
    }
    pass(client, upstream, 'up')
    pass(upstream, client, 'down')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}
