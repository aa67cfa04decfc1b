import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { buildImage, seedRegistry, seededBytes } from '../../fixtures/images/index.ts'
import { parseLock, parsePlatform, readPublicKey, type Receipt } from '../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { writeKeyPair } from '../../src/trust/key-files.ts'
import { verifySignature } from '../../src/trust/verify.ts'
import { CACHE, residentAirgap, scratch } from '../support/airgap.ts'
import { watchRun } from '../support/secrets/of-run.ts'

const PASSWORD = 'corr3ct-horse'
const EXAMPLES = join(import.meta.dirname, '../../docs/examples')

let folder: Awaited<ReturnType<typeof scratch>>
let source: EmbeddedRegistry
let images: string[]

interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** Starts an example as its first lines tell to. */
function start(name: string, args: readonly string[]): { child: ChildProcess; ended: Promise<Outcome> } {
  const child = spawn(process.execPath, [resolve(EXAMPLES, name), ...args], {
    cwd: folder.path,
    env: {
      PATH: process.env['PATH'],
      HOME: '/nonexistent',
      AIRGAP_PASSWORD: PASSWORD,
      NODE_COMPILE_CACHE: CACHE,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const watch = watchRun({ args: [name, ...args], cwd: folder.path, env: { AIRGAP_PASSWORD: PASSWORD } })
  const ended = Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ]).then(([stdout, stderr, [code]]) => {
    watch.check({ stdout, stderr })
    return { code, stdout, stderr }
  })
  return { child, ended }
}

/** The same in a process that has loaded the library already. */
function run(name: string, ...args: string[]): Promise<Outcome> {
  const env = { AIRGAP_PASSWORD: PASSWORD }
  return residentAirgap(args, { cwd: folder.path, env, program: join(EXAMPLES, name) })
}

async function seed(name: string, content: string | Buffer): Promise<void> {
  const built = await buildImage({ platform: parsePlatform('linux/amd64'), files: { content } })
  seedRegistry(source.store, `${name}:1`, built)
}

beforeAll(async () => {
  folder = await scratch()
  source = await startRegistry()
  await seed('web', seededBytes('web', 300_000))
  await seed('db', seededBytes('db', 200_000))
  images = [`${source.host}/web:1`, `${source.host}/db:1`]
  await writeFile(folder.file('images.txt'), `# what we run\n${images.join('\n')}\n`)
  await writeKeyPair({ prefix: folder.file('airgap'), password: PASSWORD })
  const packed = await run('pack.ts', 'images.txt', 'airgap.key', 'bundle.tar')
  expect(packed).toMatchObject({ code: 0, stderr: '' })
  expect(packed.stdout).toContain(`  ${images[0]} fetched\n`)
  expect(packed.stdout).toMatch(/^bundle\.tar: 2 images, \d+ bytes\nto be approved: sha256:[0-9a-f]{64}\n$/m)
  approved = /sha256:[0-9a-f]{64}/.exec(packed.stdout)?.[0] ?? ''
})

/** The bundle digest that pack.ts has printed. */
let approved: string

afterAll(async () => {
  await source.close()
  await folder[Symbol.asyncDispose]()
})

test('each example has a test, and says how to use it', async () => {
  const names = readdirSync(EXAMPLES)
    .filter((name) => name.endsWith('.ts'))
    .toSorted()
  expect(names).toEqual(['pack.ts', 'push.ts', 'report.ts', 'serve.ts', 'update.ts', 'verify.ts'])
  for (const name of names) {
    expect(await readFile(join(EXAMPLES, name), 'utf8')).toContain(`    node docs/examples/${name} `)
  }
  // All in one process, which loads the library once; each ends it, or would.
  const program = `
    process.exit = (code) => { console.error('exit', code); throw 'ended' }
    for (const name of ${JSON.stringify(names)}) {
      process.argv = [process.argv[0], name]
      await import(${JSON.stringify(`${EXAMPLES}/`)} + name).catch((error) => { if (error !== 'ended') throw error })
    }`
  const file = folder.file('all.mjs')
  await writeFile(file, program)
  const { code, stderr } = await start(file, []).ended
  expect(code).toBe(0)
  const usages = names.map((name) => `usage: ${name.replace('.', '\\.')} [A-Z].*\nexit 2\n`)
  expect(stderr).toMatch(new RegExp(`^${usages.join('')}$`))
})

test('pack.ts keeps the lock, and tells what it cannot do', async () => {
  const lock = parseLock(await readFile(folder.file('bundle.tar.lock')), 'bundle.tar.lock')
  expect(lock.images.map(({ source: name }) => name)).toEqual(images.toSorted())
  const again = await run('pack.ts', 'images.txt', 'airgap.key', 'bundle.tar')
  expect(again).toMatchObject({ code: 7 })
  expect(again.stderr).toMatch(/^OUTPUT_EXISTS: cannot write .*bundle\.tar: it already exists\n/)
})

test('verify.ts gives the evidence, good or not', async () => {
  const good = await run('verify.ts', 'bundle.tar', 'airgap.pub', approved)
  expect(good).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse(good.stdout)).toMatchObject({
    file: 'bundle.tar',
    verdict: 'good',
    digest: approved,
    name: 'bundle',
    signedBy: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    images: images.toSorted().map((image) => ({ source: image, platforms: ['linux/amd64'] })),
  })
  const bytes = await readFile(folder.file('bundle.tar'))
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 5000) ^ 1, bytes.length - 5000)
  await writeFile(folder.file('altered.tar'), bytes)
  const altered = await run('verify.ts', 'altered.tar', 'airgap.pub')
  expect(altered).toMatchObject({ code: 3, stderr: '' })
  expect(JSON.parse(altered.stdout)).toMatchObject({
    verdict: 'refused',
    problems: [{ entry: expect.stringMatching(/^blobs\/sha256\//) as string }],
  })
})

test('report.ts keeps the evidence under a signature, of a bundle that is refused, too', async () => {
  const good = await run('report.ts', 'bundle.tar', 'airgap.pub', 'airgap.key', 'good.json')
  expect(good).toMatchObject({ code: 0, stderr: '' })
  expect(good.stdout).toMatch(/^bundle\.tar good: good\.json\n {2}signature: true\n/)
  const report = await readFile(folder.file('good.json'))
  const keys = [await readPublicKey(folder.file('airgap.pub'))]
  const der = await readFile(folder.file('good.json.sig'))
  expect(verifySignature({ payload: report, signature: { der }, keys }).ok).toBe(true)

  await writeFile(folder.file('short.tar'), (await readFile(folder.file('bundle.tar'))).subarray(0, -512))
  const short = await run('report.ts', 'short.tar', 'airgap.pub', 'airgap.key', 'short.json')
  expect(short).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/short\.tar is cut off: it has [\d,]+ of [\d,]+ bytes/) as string,
  })
  expect(short.stdout).toMatch(/ failed: short\.json\n {2}signature: true\n[^]* {2}archive: false\n/)
})

test('push.ts sends the images and keeps the receipt', async () => {
  await using target = await startRegistry()
  const { code, stdout, stderr } = await run(
    'push.ts',
    'bundle.tar',
    'airgap.pub',
    target.host,
    'receipt.json',
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const receipt = JSON.parse(await readFile(folder.file('receipt.json'), 'utf8')) as Receipt
  expect(receipt).toMatchObject({ complete: true, bundle: { digest: approved } })
  for (const image of receipt.images) {
    expect(stdout).toContain(`tagged ${image.target}\n`)
    const [, repository, tag] = /^[^/]+\/(.*):(.*)$/.exec(image.target) ?? []
    expect(target.store.manifest(repository ?? '', tag ?? '')?.digest).toBe(image.digest)
  }
})

test('push.ts is called off by Ctrl-C, and the next one goes on', async () => {
  await using target = await startRegistry()
  // Answers nothing that would set a tag, until the push is called off.
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>()
  const proxy = await holdingProxy(target, reach)
  const { child, ended } = start('push.ts', ['bundle.tar', 'airgap.pub', proxy.host, 'second.json'])
  await reached
  child.kill('SIGINT')
  expect(await ended).toMatchObject({ code: 6, stderr: 'called off; push again to go on\n' })
  expect(existsSync(folder.file('second.json'))).toBe(false)
  expect(existsSync(folder.file('second.json.incomplete'))).toBe(false)
  const again = await run('push.ts', 'bundle.tar', 'airgap.pub', target.host, 'second.json')
  expect(again).toMatchObject({ code: 0, stderr: '' })
  expect(again.stdout).toContain('tagged ')
  expect(again.stdout).not.toContain('uploaded ')
})

/** Passes everything on to a registry but manifests that are put, which it keeps waiting. */
async function holdingProxy(target: EmbeddedRegistry, onHeld: () => void): Promise<{ host: string }> {
  const server = createServer((message, response) => {
    if (message.method === 'PUT' && message.url?.includes('/manifests/')) return onHeld()
    const { method, url, headers } = message
    const passed = request(`${target.url}${url}`, { method, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    passed.on('error', () => response.destroy())
    message.pipe(passed)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return { host: `127.0.0.1:${typeof address === 'object' ? address?.port : ''}` }
}

test('serve.ts pulls every manifest from the bundle, and ends', async () => {
  const { code, stdout, stderr } = await run('serve.ts', 'bundle.tar', 'airgap.pub')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^serving 2 images at http:\/\/127\.0\.0\.1:\d+\n/)
  for (const image of images) expect(stdout).toMatch(new RegExp(`^${image} is sha256:[0-9a-f]{64}$`, 'm'))
})

test('update.ts plans first, fetches what is new, and refuses what is too much', async () => {
  await seed('cache', seededBytes('cache', 100_000))
  const all = [...images, `${source.host}/cache:1`]
  source.requests.length = 0
  // Configs, which say the platform of an image, are small.
  const fetchedLayers = (): string[] =>
    source.requests.filter(({ bytesSent }) => bytesSent > 50_000).map(({ path }) => path)
  const refused = await run('update.ts', 'bundle.tar', 'next.tar', '1000', ...all)
  expect(refused).toMatchObject({ code: 1, stderr: 'more than 1000 bytes would be fetched\n' })
  expect(existsSync(folder.file('next.tar'))).toBe(false)
  expect(fetchedLayers()).toEqual([])
  const { code, stdout, stderr } = await run('update.ts', 'bundle.tar', 'next.tar', '1000000', ...all)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^next\.tar: fetched [12], reused [234] blobs\nsha256:[0-9a-f]{64}\n$/m)
  expect(fetchedLayers()).toEqual([expect.stringContaining('/cache/blobs/')])
  expect(existsSync(folder.file('next.tar'))).toBe(true)
})
