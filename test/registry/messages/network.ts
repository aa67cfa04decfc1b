import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { Agent, type Dispatcher } from 'undici'
import { onTestFinished } from 'vitest'
import { transportError } from '../../../src/registry/faults/transport.ts'
import { Transport, type TransportOptions } from '../../../src/registry/net/transport.ts'
import { makeClient, serve } from '../../support/client.ts'
import { FakeClock } from '../net/throttle/fake-clock.ts'
import type { Case } from './case.ts'

const context = { registry: 'registry.example', operation: 'fetch the manifest registry.example/app:1.0' }

/** A TCP server that does `act` to each connection; `HOST:PORT`. */
export async function tcp(act: (socket: Socket) => void): Promise<string> {
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => {})
    act(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** What a request to such a server comes to; HTTPS unless said otherwise. */
export function request(
  act: (socket: Socket) => void,
  {
    scheme = 'https',
    answerTimeoutMs,
    ...options
  }: Partial<TransportOptions> & { scheme?: string; answerTimeoutMs?: number } = {},
): () => Promise<unknown> {
  return async () => {
    const host = await tcp(act)
    const transport = new Transport({ insecureSkipTlsVerify: [], plainHttp: [], ...options })
    onTestFinished(() => transport.close())
    const url = new URL(`${scheme}://${host}/v2/`)
    const response = await transport.request({
      method: 'GET',
      url,
      context: { ...context, registry: host },
      answerTimeoutMs,
    })
    try {
      for await (const chunk of response.body) void chunk
    } catch (error) {
      throw transportError(error, context, host, undefined, { stallMs: transport.stallTimeoutMs })
    }
  }
}

/** A proxy that answers CONNECT so. */
function proxied(status: number): () => Promise<unknown> {
  return async () => {
    const host = await tcp((socket) => socket.once('data', () => socket.end(`HTTP/1.1 ${status} No\r\n\r\n`)))
    await through(`http://user:s3cret@${host}`)
  }
}

async function through(proxy: string): Promise<void> {
  const transport = new Transport({ env: { HTTPS_PROXY: proxy } })
  try {
    await transport.request({ method: 'GET', url: new URL('https://registry.example/v2/'), context })
  } finally {
    await transport.close()
  }
}

async function fail(agent: Dispatcher): Promise<void> {
  try {
    await agent.request({ origin: 'https://registry.example', path: '/v2/', method: 'GET' })
  } catch (error) {
    throw transportError(error, context, 'registry.example', undefined)
  } finally {
    await agent.destroy()
  }
}

/** As Node words it; name services differ between machines. */
const dns = (code: string) => async (): Promise<unknown> => {
  const agent = new Agent({
    connect: {
      lookup: (host, _, done) => done(Object.assign(new Error(`getaddrinfo ${code} ${host}`), { code }), ''),
    },
  })
  return fail(agent)
}

const ended = (text: string) => (socket: Socket) => void socket.once('data', () => socket.end(text))

export const NETWORK_CASES: Case[] = [
  {
    name: 'nobody there',
    provoke: () => makeClient().repository('127.0.0.1:1', 'app').fetchManifest('1.0'),
    says: /^cannot fetch the manifest 127\.0\.0\.1:1\/app:1\.0: 127\.0\.0\.1:1: nothing listens there \(connection refused, ECONNREFUSED\)$/,
    hints: [/ss -ltn/, /443/],
  },
  {
    name: 'a name that nobody knows',
    provoke: dns('ENOTFOUND'),
    says: /: registry\.example: its host name is not known \(DNS, ENOTFOUND\)$/,
    hints: [/getent hosts registry\.example/, /\/etc\/hosts/, /--mirror/],
  },
  {
    name: 'a name under .invalid',
    provoke: () => makeClient().repository('registry.invalid', 'app').fetchManifest('1.0'),
    says: /^cannot fetch the manifest registry\.invalid\/app:1\.0: registry\.invalid: its host name /,
    hints: [/\/etc\/hosts/],
  },
  {
    name: 'no name service',
    provoke: dns('EAI_AGAIN'),
    says: /: its host name could not be looked up just now \(DNS, EAI_AGAIN\)$/,
    hints: [/\/etc\/resolv\.conf/],
  },
  {
    name: 'no route',
    provoke: dns('ENETUNREACH'),
    says: /: there is no route to it from here \(ENETUNREACH\)$/,
    hints: [/ip route/],
  },
  {
    name: 'a reset',
    provoke: request((socket) => void socket.once('data', () => socket.resetAndDestroy()), {
      scheme: 'http',
    }),
    says: /: the connection was reset \(ECONNRESET\)$/,
    hints: [/If it expects TLS, leave --plain-http out/, /firewall/],
  },
  {
    name: 'a connection closed',
    provoke: request(ended(''), { scheme: 'http' }),
    says: /: the connection was closed before the answer was complete \(UND_ERR_SOCKET\)$/,
    hints: [/leave --plain-http out/],
  },
  {
    name: 'TLS cut off on the way',
    provoke: request(ended('')),
    says: /: the connection was closed before TLS was agreed on \(ECONNRESET\)$/,
    hints: [/firewall/, /HTTPS_PROXY/, /--plain-http 127/],
  },
  {
    name: 'something that does not speak HTTP',
    provoke: request((socket) => void socket.write('SSH-2.0-OpenSSH_9.2\r\n'), { scheme: 'http' }),
    says: /: it does not answer with proper HTTP/,
    hints: [/leave --plain-http out/],
  },
  {
    name: 'a proxy that forbids',
    provoke: proxied(403),
    says: /^cannot fetch the manifest registry\.example\/app:1\.0: the proxy 127\.0\.0\.1:\d+ from HTTPS_PROXY does not connect to registry\.example: it answers 403$/,
    hints: [/registry\.example allowed/, /NO_PROXY/],
  },
  {
    name: 'a proxy that wants a password',
    provoke: proxied(407),
    says: /the proxy 127\.0\.0\.1:\d+ from HTTPS_PROXY does not accept the user name and password given for it \(407\)$/,
    hints: [/percent-encoded/],
  },
  {
    name: 'a proxy without a way',
    provoke: proxied(502),
    says: /the proxy \S+ from HTTPS_PROXY does not connect to registry\.example: it answers 502$/,
    hints: [/not know or reach registry\.example/, /NO_PROXY/],
  },
  {
    name: 'a proxy that is not there',
    provoke: () => through('http://user:s3cret@127.0.0.1:1'),
    says: /the proxy 127\.0\.0\.1:1 from HTTPS_PROXY \(for registry\.example\): nothing listens there \(connection refused, ECONNREFUSED\)$/,
    hints: [/^Check host and port in HTTPS_PROXY/, /NO_PROXY/],
  },
]

/** What takes a while, because nothing happens; to be provoked together. */
export const SILENCES: Case[] = [
  {
    name: 'a firewall that swallows everything',
    provoke: request(() => {}, { connectTimeoutMs: 700 }),
    says: /: no connection could be made within 1 s \(UND_ERR_CONNECT_TIMEOUT\)$/,
    hints: [/firewall/, /curl -v https:\/\/127/],
  },
  {
    name: 'an answer that does not come',
    provoke: request(() => {}, { scheme: 'http', stallTimeoutMs: 60 }),
    says: /: it stopped answering: nothing came for 0 s \(UND_ERR_HEADERS_TIMEOUT\)$/,
    hints: [/same command again/],
  },
  {
    name: 'an answer that drips',
    provoke: async () => {
      const clock = new FakeClock()
      const { host } = await serve(async (_, response) => {
        while (!response.destroyed) {
          response.write('x')
          await clock.pass(10_000)
        }
      })
      await makeClient({ clock, retry: { attempts: 1 } })
        .repository(host, 'app')
        .fetchManifest('1.0')
    },
    says: /: it sends too slowly: \d+ bytes within 1 min 0 s$/,
    hints: [/same command again/],
  },
  {
    name: 'interim answers without end',
    provoke: async () => {
      const { host } = await serve((_, response) => {
        const again = (): void => {
          if (response.destroyed) return
          response.writeProcessing()
          setImmediate(again)
        }
        again()
      })
      await makeClient({ retry: { attempts: 1 } })
        .repository(host, 'app')
        .fetchManifest('1')
    },
    says: /: it keeps sending interim answers \(1xx\), and no final one$/,
    hints: [/same command again/],
  },
  {
    name: 'an answer that stops',
    provoke: request(
      (socket) =>
        void socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc')),
      { scheme: 'http', stallTimeoutMs: 60, answerTimeoutMs: 60_000 },
    ),
    says: /: it stopped sending: nothing came for 0 s \(UND_ERR_BODY_TIMEOUT\)$/,
    hints: [/same command again/],
  },
]
