import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Certificates } from './certificates.ts'
import { poll, run, startServer, type Server } from './processes.ts'

export const USER = 'packer'
export const PASSWORD = 'correct horse'

/** A running registry on a port of its own. */
export interface Registry extends Server {
  /** `127.0.0.1:PORT` */
  host: string
}

export interface RegistryOptions {
  /** The store; kept, and shared by registries one after the other. */
  store: string
  /** Where configuration goes. */
  scratch: string
  /** TLS and a password, or neither. */
  certificates?: Certificates
  readOnly?: boolean
  /** Distribution 3: take indexes of which not every platform is there. */
  sparseIndexes?: boolean
  /** Take manifests with foreign layers whose addresses match. */
  foreignLayers?: string | undefined
  /** Without one, uploads do not live through a restart. */
  secret?: false
}

let count = 0

/** Debian's docker-registry. */
export function startDockerRegistry(options: RegistryOptions): Promise<Registry> {
  return startDistribution('docker-registry', options)
}

/** Distribution 3, by its own name `registry`. */
export function startDistribution3(options: RegistryOptions): Promise<Registry> {
  return startDistribution('registry', options)
}

/** One of the two with a store of its own, empty, in a new folder below the one given. */
export async function startFresh(
  kind: 'docker-registry' | 'distribution 3',
  folder: string,
): Promise<Registry> {
  const own = await mkdtemp(join(folder, 'registry-'))
  const start = kind === 'docker-registry' ? startDockerRegistry : startDistribution3
  return start({ store: join(own, 'store'), scratch: own })
}

async function startDistribution(program: string, options: RegistryOptions): Promise<Registry> {
  const { store, scratch, certificates } = options
  count += 1
  const configFile = join(scratch, `registry-${count}.json`)
  const passwords = join(scratch, `registry-${count}.htpasswd`)
  if (certificates) await writeFile(passwords, await run('htpasswd', ['-Bbn', USER, PASSWORD]))
  // JSON is YAML too.
  await writeFile(
    configFile,
    JSON.stringify({
      version: '0.1',
      log: { level: 'info', accesslog: { disabled: false } },
      storage: {
        filesystem: { rootdirectory: store },
        delete: { enabled: true },
        ...(options.readOnly ? { maintenance: { readonly: { enabled: true } } } : {}),
      },
      http: {
        addr: '127.0.0.1:0',
        ...(options.secret === false ? {} : { secret: 'any' }),
        ...(certificates ? { tls: { certificate: certificates.certificate, key: certificates.key } } : {}),
      },
      validation: {
        manifests: {
          ...(options.sparseIndexes ? { indexes: { platforms: 'none' } } : {}),
          ...(options.foreignLayers === undefined ? {} : { urls: { allow: [options.foreignLayers] } }),
        },
      },
      ...(certificates ? { auth: { htpasswd: { realm: 'registry', path: passwords } } } : {}),
    }),
  )
  const server = await startServer(program, ['serve', configFile], listeningPort, {
    env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
  })
  return asRegistry(server)
}

/** The registry of go-containerregistry. */
export async function startCraneRegistry(store: string): Promise<Registry> {
  await mkdir(store, { recursive: true })
  return asRegistry(
    await startServer(
      'crane',
      ['registry', 'serve', '--address', '127.0.0.1:0', '--disk', store],
      listeningPort,
    ),
  )
}

/** zot takes no port 0 that it would tell us about, so one is chosen here. */
export async function startZot(store: string, scratch: string): Promise<Registry> {
  const port = await freePort()
  const configFile = join(scratch, 'zot.json')
  await writeFile(
    configFile,
    JSON.stringify({
      distSpecVersion: '1.1.1',
      storage: { rootDirectory: store },
      http: { address: '127.0.0.1', port: String(port), compat: ['docker2s2'] },
      log: { level: 'info' },
    }),
  )
  const server = await startServer('zot', ['serve', configFile], async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined)
    return answer ? port : undefined
  })
  return asRegistry(server)
}

/** nginx in front of a registry, with a limit for the bodies of requests as people write it: `10m`. */
export async function startNginx(to: string, scratch: string, limit: string): Promise<Registry> {
  const port = await freePort()
  const folder = join(scratch, `nginx-${port}`)
  await mkdir(folder)
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(' ')
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off; master_process off; pid ${folder}/pid; error_log stderr notice; events {}
http { access_log off; ${paths}
  server { listen 127.0.0.1:${port}; client_max_body_size ${limit};
    location / { proxy_pass http://${to}; proxy_set_header Host $http_host; } } }\n`,
  )
  const args = ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')]
  const server = await startServer('nginx', args, async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined)
    return answer ? port : undefined
  })
  return asRegistry(server)
}

export async function freePort(): Promise<number> {
  const { createServer } = await import('node:net')
  const { once } = await import('node:events')
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

function listeningPort(output: string): number | undefined {
  const match = /(?:listening on 127\.0\.0\.1:|serving on port )(\d+)/.exec(output)
  return match ? Number(match[1]) : undefined
}

function asRegistry(server: Server & { ready: number }): Registry {
  return {
    host: `127.0.0.1:${server.ready}`,
    output: server.output,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** The requests in an access log (Combined Log Format), as `METHOD PATH`. */
export function requestsIn(log: string): string[] {
  return [...log.matchAll(/"([A-Z]+ \/v2\/[^ ]*) HTTP\/[\d.]+" \d{3}/g)].map((match) => match[1] ?? '')
}

/** Waits until the access log shows a request, because it is written after the answer is sent. */
export function logged(registry: Registry, request: string): Promise<true> {
  return poll(`${request} in the access log`, () =>
    requestsIn(registry.output()).includes(request) ? true : undefined,
  )
}

/** Docker's credentials file with our user for some registries. */
export async function writeAuthFile(path: string, hosts: readonly string[]): Promise<void> {
  const auth = Buffer.from(`${USER}:${PASSWORD}`).toString('base64')
  await writeFile(
    path,
    JSON.stringify({ auths: Object.fromEntries(hosts.map((host) => [host, { auth }])) }),
    { mode: 0o600 },
  )
}
