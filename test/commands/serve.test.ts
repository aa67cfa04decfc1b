import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { AMD64, image } from '../../fixtures/images/index.ts'
import type { ServeResult } from '../../src/cli/output/shapes/serve.ts'
import type { SigningKey } from '../../src/trust/keys.ts'
import { bundleOf, draftOf, newSigner, signer } from '../support/build-bundle.ts'
import { CACHE, scratch, session, type Session } from '../support/airgap.ts'
import { expectResult, logLines } from '../support/schemas.ts'
import { watchRun } from '../support/secrets/of-run.ts'
import { selfSigned } from '../support/self-signed.ts'
import { largeImage } from '../serve/large-image.ts'

const RUN = join(import.meta.dirname, '../../bin/run.js')
const KEY = ['--key', 'airgap.pub']
const FREE = ['--listen', '127.0.0.1:0']

let folder: Awaited<ReturnType<typeof scratch>>
let run: Session['run']

beforeAll(async () => {
  folder = await scratch()
  ;({ run } = session(folder.path))
  await writeFile(folder.file('airgap.pub'), pemOf(signer))
  await writeFile(folder.file('other.pub'), pemOf(newSigner()))
  const hub = { source: 'docker.io/library/nginx:1', built: await largeImage(16 * 1024 * 1024) }
  const quay = { source: 'quay.io/library/nginx:1', built: await image('quay', AMD64) }
  const port = { source: 'registry.internal:5000/team/app:1', built: await image('own', AMD64) }
  await writeFile(folder.file('a.tar'), bundleOf(await draftOf([hub])))
  await writeFile(folder.file('b.tar'), bundleOf(await draftOf([quay, port], { name: 'second\u001b[31m' })))
  const { key, cert } = selfSigned()
  await writeFile(folder.file('tls.key'), key)
  await writeFile(folder.file('tls.crt'), cert)
})
afterAll(() => folder[Symbol.asyncDispose]())

function pemOf({ publicKey }: SigningKey): string | Buffer {
  return publicKey.keyObject.export({ type: 'spki', format: 'pem' })
}

interface Running extends AsyncDisposable {
  child: ChildProcess
  /** `http://127.0.0.1:PORT` */
  url: string
  stdout(): string
  stderr(): string
  /** The exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>
}

/** Starts `airgap serve` and waits until it has said where it listens. */
async function start(...args: string[]): Promise<Running> {
  const child = spawn(process.execPath, [RUN, 'serve', ...args], {
    cwd: folder.path,
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', NODE_COMPILE_CACHE: CACHE },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const text = { stdout: '', stderr: '' }
  const watch = watchRun({ args: ['serve', ...args] })
  const closed = once(child, 'close')
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      text.stdout += chunk.toString()
      const found =
        /(?:^Serving .* on |"url": ")(https?:\/\/[^ "]+)[^]*(?:Press Ctrl-C to stop\.|^\})\n/m.exec(
          text.stdout,
        )?.[1]
      if (found !== undefined) resolve(found)
    })
    child.stderr.on('data', (chunk: Buffer) => (text.stderr += chunk.toString()))
    child.once('exit', (code) => reject(new Error(`ended with ${code}\n${text.stdout}${text.stderr}`)))
  })
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal)
    const [code] = (await closed) as [number | null]
    watch.check(text)
    return code
  }
  return {
    child,
    url,
    stdout: () => text.stdout,
    stderr: () => text.stderr,
    end,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) await end('SIGKILL')
    },
  }
}

test('says what it serves, under which names, and what nodes need; logs each request; ends with 0', async () => {
  await using serving = await start('a.tar', 'b.tar', ...KEY, ...FREE)
  const host = new URL(serving.url).host
  const out = serving.stdout()
  expect(out).toContain(`Serving 2 bundles on http://${host} (plain HTTP)`)
  expect(out).toMatch(/a\.tar\n {4}GOOD: unaltered, and signed by the key given\n {4}key [0-9a-f]{64}\n/)
  expect(out).toContain('second\\u{1b}[31m')
  expect(out).toMatch(
    /Refused without their registry.*\n {2}library\/nginx:1\n {4}docker\.io\/.*\n {4}quay\.io\//,
  )
  expect(out).toContain('/etc/containerd/certs.d/registry.internal:5000/hosts.toml')
  expect(out).toContain(`    [host."http://${host}"]`)
  expect(out).toContain(`    location = "${host}/registry.internal_5000"`)
  // oxlint-disable-next-line no-control-regex
  expect(out + serving.stderr()).not.toMatch(/[\u001b\u0007]/)

  await fetch(`${serving.url}/v2/`, {
    headers: { authorization: 'Basic c2VjcmV0', 'user-agent': 'me\u009b2J' },
  })
  await fetch(`${serving.url}/v2/library/nginx/manifests/1?ns=quay.io&token=secret`)
  await expect.poll(() => serving.stderr()).toContain('ns=quay.io')
  expect(serving.stderr()).toMatch(/^\d{4}-\S+Z 127\.0\.0\.1 GET \/v2\/ 200 2 B \d+ ms "me\\u\{9b\}2J"$/m)
  expect(serving.stderr()).not.toContain('c2VjcmV0')
  expect(serving.stderr()).not.toContain('secret')
  expect(await serving.end('SIGINT')).toBe(0)
  expect(serving.stderr()).toMatch(/Stopped\.\n$/)
})

test('--json gives one document when it listens, and nothing more at the end', async () => {
  await using serving = await start('a.tar', 'b.tar', ...KEY, ...FREE, '--json', '--quiet')
  const document = JSON.parse(serving.stdout()) as ServeResult
  expectResult('serve', document)
  // A bundle is the same here as in the evidence on it.
  const evidence = (await run(['verify', 'a.tar', ...KEY, '--json'])).json()
  expect(evidence).toMatchObject(document.bundles[0]!)
  expect(document).toMatchObject({
    url: serving.url,
    advertised: new URL(serving.url).host,
    bundles: [
      { file: 'a.tar', verdict: 'good', bundle: { name: 'test.tar', sequence: 7 } },
      { file: 'b.tar', verdict: 'good', authentication: { state: 'signed', keyFile: 'airgap.pub' } },
    ],
    images: [
      { source: 'docker.io/library/nginx:1', file: 'a.tar', names: ['docker.io/library/nginx:1'] },
      { source: 'quay.io/library/nginx:1', file: 'b.tar', names: ['quay.io/library/nginx:1'] },
      { file: 'b.tar', names: ['registry.internal_5000/team/app:1', 'team/app:1'] },
    ],
    ambiguous: [{ name: 'library/nginx:1' }],
    hostsFiles: [
      { registry: 'docker.io', path: '/etc/containerd/certs.d/docker.io/hosts.toml' },
      { registry: 'quay.io' },
      { registry: 'registry.internal:5000' },
    ],
    registriesConf: { path: '/etc/containers/registries.conf.d/airgap.conf' },
  })
  expect((await fetch(`${serving.url}/v2/_catalog`)).status).toBe(200)
  const before = serving.stdout()
  expect(await serving.end('SIGTERM')).toBe(0)
  expect(serving.stdout()).toBe(before)
  expect(serving.stderr()).toBe('')
})

test('a signal lets the transfer under way finish', async () => {
  await using serving = await start('a.tar', ...KEY, ...FREE)
  const manifest = (await (await fetch(`${serving.url}/v2/library/nginx/manifests/1`)).json()) as {
    layers: { digest: string; size: number }[]
  }
  const [layer] = manifest.layers
  const response = await fetch(`${serving.url}/v2/library/nginx/blobs/${layer?.digest}`)
  const ended = serving.end('SIGTERM')
  await expect.poll(() => serving.stderr()).toContain('Stopping: waiting up to 10 s for 1 transfer')
  expect((await response.arrayBuffer()).byteLength).toBe(layer?.size)
  expect(await ended).toBe(0)
})

test('with a certificate it speaks TLS, and says so', async () => {
  await using serving = await start('b.tar', ...KEY, ...FREE, '--tls-cert', 'tls.crt', '--tls-key', 'tls.key')
  expect(serving.url).toMatch(/^https:/)
  expect(serving.stdout()).not.toContain('plain HTTP')
  expect(serving.stdout()).not.toContain('insecure = true')
  expect(serving.stdout()).toContain('# ca = ')
  const agent = new Agent({ connect: { ca: await readFile(folder.file('tls.crt'), 'utf8') } })
  expect((await undiciFetch(`${serving.url}/v2/`, { dispatcher: agent })).status).toBe(200)
  await agent.close()
  // A client that does not know the authority.
  await expect(fetch(`${serving.url}/v2/`)).rejects.toThrow()
  await expect.poll(() => serving.stderr()).toMatch(/^\S+Z \S+ no TLS connection: /m)
})

test('--log-format json tells of each request and each failed handshake by fields', async () => {
  const tls = ['--tls-cert', 'tls.crt', '--tls-key', 'tls.key']
  await using serving = await start(
    'a.tar',
    '--allow-unsigned',
    ...FREE,
    ...tls,
    '--log-format',
    'json',
    '--json',
  )
  expectResult('serve', JSON.parse(serving.stdout()))
  await expect(fetch(`${serving.url}/v2/`)).rejects.toThrow()
  await expect.poll(serving.stderr).toContain('"handshake"')

  const agent = new Agent({ connect: { ca: await readFile(folder.file('tls.crt'), 'utf8') } })
  const get = async (
    path: string,
    headers: Record<string, string> = {},
  ): Promise<Record<string, unknown>> => {
    const response = await undiciFetch(`${serving.url}/v2/${path}`, { dispatcher: agent, headers })
    return response.ok ? ((await response.json()) as Record<string, unknown>) : {}
  }
  const long = `${'a/'.repeat(100)}nginx`
  const manifest = await get('library/nginx/manifests/1?ns=docker.io&token=secret', {
    'user-agent': 'me\u009b2J',
    authorization: 'Basic c2VjcmV0',
  })
  const { layers } = manifest as { layers: { digest: string }[] }
  const blob = `library/nginx/blobs/${layers[0]?.digest}`
  const response = await undiciFetch(`${serving.url}/v2/${blob}`, {
    dispatcher: agent,
    headers: { range: 'bytes=0-9' },
  })
  await response.arrayBuffer()
  await get(`${long}/manifests/sha256:${'0'.repeat(64)}?ns=docker.io`)
  await agent.close()
  await expect.poll(serving.stderr).toContain('"status":404')
  expect(await serving.end('SIGTERM')).toBe(0)

  const lines = logLines(serving.stderr())
  expect(lines[0]).toMatchObject({ level: 'warning', event: 'warning' })
  const begin = lines.findIndex(({ event }) => event === 'handshake')
  const [handshake, first, ranged, missing, end, ...more] = lines.slice(begin)
  expect(handshake).toMatchObject({ event: 'handshake', error: expect.stringMatching(/./) })
  expect(first).toEqual({
    time: expect.any(String),
    level: 'info',
    event: 'request',
    message: expect.stringMatching(
      /^127\.0\.0\.1 GET \/v2\/library\/nginx\/manifests\/1\?ns=docker\.io 200 /,
    ),
    remote: '127.0.0.1',
    method: 'GET',
    path: '/v2/library/nginx/manifests/1?ns=docker.io',
    status: 200,
    bytes: expect.any(Number),
    milliseconds: expect.any(Number),
    userAgent: 'me\u009b2J',
  })
  expect(ranged).toMatchObject({ path: `/v2/${blob}`, range: 'bytes=0-9', status: 206, bytes: 10 })
  expect(missing).toMatchObject({ path: expect.stringMatching(/0{64}\?ns=docker\.io$/), status: 404 })
  expect([end?.message, more]).toEqual(['Stopped.', []])
  expect(serving.stderr()).not.toMatch(/secret|c2VjcmV0|\u009b/)
})

test('a transfer that the client breaks off is in the log, with its error and the bytes sent', async () => {
  await using serving = await start('a.tar', ...KEY, ...FREE, '--log-format', 'json')
  const manifest = (await (await fetch(`${serving.url}/v2/library/nginx/manifests/1`)).json()) as {
    layers: { digest: string; size: number }[]
  }
  const abort = new AbortController()
  const url = `${serving.url}/v2/library/nginx/blobs/${manifest.layers[0]?.digest}`
  const response = await fetch(url, { signal: abort.signal })
  expect(response.status).toBe(200)
  abort.abort()
  await expect.poll(serving.stderr).toContain('/blobs/')
  const line = logLines(serving.stderr()).at(-1)
  expect(line).toMatchObject({ event: 'request', error: expect.stringMatching(/./) })
  expect(line?.bytes).toBeLessThan(manifest.layers[0]?.size ?? 0)
})

test('where other machines can listen in, only with TLS or where it is asked for', async () => {
  const refused = await run(['serve', 'a.tar', ...KEY, '--listen', '0.0.0.0:0'])
  expect(refused.code).toBe(2)
  expect(refused.stderr).toContain('plain HTTP on 0.0.0.0 would be open to the network')
  expect(refused.stderr).toContain('--tls-cert')
  const open = ['--listen', '0.0.0.0:0', '--plain-http', '--advertise', 'registry.internal:5000']
  await using serving = await start('b.tar', ...KEY, ...open)
  expect(serving.stdout()).toContain('[host."http://registry.internal:5000"]')
  expect(await serving.end('SIGTERM')).toBe(0)
})

test('nothing that is not trusted is served', async () => {
  const digest = ['--expect-digest', 'a'.repeat(64)]
  const [wrong, none, one] = await Promise.all([
    run(['serve', 'a.tar', '--key', 'other.pub', ...FREE]),
    run(['serve', 'a.tar', ...FREE]),
    run(['serve', 'a.tar', 'b.tar', ...KEY, ...digest]),
  ])
  expect(wrong.code).toBe(3)
  expect(wrong.stderr).toContain('a.tar is signed by another key than the one given: ')
  expect(none.code).toBe(2)
  expect(none.stderr).toContain('--allow-unsigned')
  expect([one.code, one.stderr]).toEqual([2, expect.stringContaining('the digest of one bundle')])

  await using serving = await start('b.tar', '--allow-unsigned', ...FREE)
  await expect.poll(serving.stderr).toContain('Warning: the bundles are not authenticated')
  expect(serving.stdout()).toContain('NOT AUTHENTICATED')
})

test('what keeps it from listening is said with the way out', async () => {
  const taken = createServer()
  taken.listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  const busy = await run(['serve', 'b.tar', ...KEY, '--listen', `127.0.0.1:${port}`])
  taken.close()
  expect([busy.code, busy.stderr]).toEqual([
    4,
    expect.stringMatching(
      new RegExp(`cannot listen on 127.0.0.1:${port}: the port is in use\nAnother program`),
    ),
  ])

  await writeFile(folder.file('rubbish.pem'), 'rubbish')
  await writeFile(folder.file('other.key'), selfSigned().key)
  const tls = (cert: string, key: string): string[] => ['--tls-cert', cert, '--tls-key', key]
  const cases = [
    [['--listen', '5000'], 2, 'it has to be HOST:PORT'],
    [['--listen', '192.0.2.1:0', '--plain-http'], 4, 'this machine does not have that address'],
    [tls('tls.crt', 'other.key'), 4, 'the TLS key and certificate cannot be used'],
    [tls('rubbish.pem', 'tls.key'), 4, 'rubbish.pem is not a certificate in PEM'],
    [tls('tls.crt', 'none.key'), 7, 'cannot read none.key: there is no such file'],
    [['--tls-cert', 'tls.crt'], 2, '--tls-key'],
    [['--advertise', 'http://x'], 2, 'is not HOST or HOST:PORT'],
    [['--force'], 2, '--hosts-dir'],
  ] as const
  await Promise.all(
    cases.map(async ([flags, code, words]) => {
      const listen = flags[0] === '--listen' ? [] : FREE
      const outcome = await run(['serve', 'b.tar', ...KEY, ...listen, ...flags])
      expect([flags, outcome.code, outcome.stderr]).toEqual([flags, code, expect.stringContaining(words)])
    }),
  )
  const json = await run(['serve', 'none.tar', ...KEY, ...FREE, '--json'])
  expect(json.code).toBe(7)
  expect(json.json()).toMatchObject({ error: { code: 'FILE' } })
})

test('--hosts-dir writes what is printed, over nothing and through no link without --force', async () => {
  const dir = folder.file('certs.d')
  const args = ['b.tar', ...KEY, ...FREE, '--hosts-dir', 'certs.d']
  const first = await start(...args, '--json')
  const document = JSON.parse(first.stdout()) as ServeResult
  expect(await first.end('SIGTERM')).toBe(0)
  expect((await readdir(dir)).toSorted()).toEqual(['quay.io', 'registry.internal:5000'])
  for (const { registry, content } of document.hostsFiles) {
    expect(await readFile(join(dir, registry, 'hosts.toml'), 'utf8')).toBe(content)
    expect(await readdir(join(dir, registry))).toEqual(['hosts.toml'])
  }

  const again = await run(['serve', ...args])
  expect([again.code, again.stderr]).toEqual([7, expect.stringContaining('already exists')])
  await using forced = await start(...args, '--force')
  expect(await readFile(join(dir, 'quay.io/hosts.toml'), 'utf8')).toContain(forced.url)
  expect(forced.stdout()).toContain('These files are below certs.d')

  await mkdir(folder.file('linked'))
  await mkdir(folder.file('elsewhere'))
  await symlink(folder.file('elsewhere'), folder.file('linked/quay.io'))
  const linked = await run(['serve', 'b.tar', ...KEY, ...FREE, '--hosts-dir', 'linked', '--force'])
  expect([linked.code, linked.stderr]).toEqual([7, expect.stringContaining('or it is a symbolic link')])
  expect(await readdir(folder.file('elsewhere'))).toEqual([])
})

test('a run that comes to nothing leaves no files for nodes behind', async () => {
  const bytes = await readFile(folder.file('b.tar'))
  // A byte of the last layer: the end of the archive is behind it.
  const at = bytes.length - 2048
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await writeFile(folder.file('altered.tar'), bytes)
  await chmod(folder.file('altered.tar'), 0o444)
  const outcome = await run(['serve', 'altered.tar', ...KEY, ...FREE, '--hosts-dir', 'fresh'])
  expect(outcome.code).toBe(3)
  expect(await readdir(folder.path)).not.toContain('fresh')
})
