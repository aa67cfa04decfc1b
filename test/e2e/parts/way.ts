import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Certificates } from './certificates.ts'
import { run, startServer, type Server } from './processes.ts'
import { freePort } from './registries.ts'

/** A server on a port of its own, `127.0.0.1:PORT`. */
export interface Listening extends Server {
  host: string
}

/** tinyproxy, with a user name and a password. */
export async function startTinyproxy(
  scratch: string,
  credentials: { user: string; password: string },
): Promise<Listening> {
  const port = await freePort()
  const config = join(scratch, `tinyproxy-${port}.conf`)
  const { user, password } = credentials
  await writeFile(
    config,
    [
      `Port ${port}`,
      'Listen 127.0.0.1',
      'Timeout 600',
      'MaxClients 50',
      'LogLevel Connect',
      `BasicAuth ${user} ${password}`,
      '',
    ].join('\n'),
  )
  return listening(await startServer('tinyproxy', ['-d', '-c', config], () => answers(port)), port)
}

/** nginx in front of a registry, in TLS, for clients that show a certificate by the same authority. */
export async function startNginx(
  scratch: string,
  certificates: Certificates,
  registry: string,
): Promise<Listening> {
  const port = await freePort()
  const prefix = join(scratch, `nginx-${port}`)
  await mkdir(prefix)
  const config = join(prefix, 'nginx.conf')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  await writeFile(
    config,
    `daemon off;
master_process off;
pid ${prefix}/pid;
error_log stderr info;
events {}
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${prefix}/${name};`).join('\n  ')}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${certificates.certificate};
    ssl_certificate_key ${certificates.key};
    ssl_client_certificate ${certificates.ca};
    ssl_verify_client on;
    client_max_body_size 0;
    location / {
      proxy_pass http://${registry};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Client $ssl_client_s_dn;
      proxy_request_buffering off;
    }
  }
}
`,
  )
  return listening(
    await startServer('nginx', ['-p', prefix, '-e', 'stderr', '-c', config], () => answers(port)),
    port,
  )
}

function listening(server: Server, port: number): Listening {
  return {
    host: `127.0.0.1:${port}`,
    output: server.output,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

async function answers(port: number): Promise<true | undefined> {
  const socket = connect(port, '127.0.0.1')
  try {
    return await new Promise((resolve) => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(undefined))
    })
  } finally {
    socket.destroy()
  }
}

/** Gives a host a folder of certificates, in the home folder's certs.d of Podman. */
export async function trustFor(
  home: string,
  host: string,
  files: Record<'ca.crt', string> & Partial<Record<'client.cert' | 'client.key', string>>,
): Promise<string> {
  const folder = join(home, '.config/containers/certs.d', host)
  await mkdir(folder, { recursive: true })
  for (const [name, path] of Object.entries(files)) await copyFile(path, join(folder, name))
  return folder
}

/** A client certificate by the authority: paths of PEM files. */
export async function makeClientCertificate(
  into: string,
  certificates: Certificates,
): Promise<{ cert: string; key: string }> {
  const path = (name: string): string => join(into, name)
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    path('packer.key'),
  ]
  await run('openssl', ['req', ...key, '-out', path('packer.csr'), '-subj', '/CN=packer'])
  const issuer = ['-CA', certificates.ca, '-CAkey', path('ca.key'), '-CAcreateserial']
  const out = ['-days', '7', '-out', path('packer.crt')]
  await run('openssl', ['x509', '-req', '-in', path('packer.csr'), ...issuer, ...out])
  return { cert: path('packer.crt'), key: path('packer.key') }
}
