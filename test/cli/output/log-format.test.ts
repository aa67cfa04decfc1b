import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seedRegistry, singleManifest } from '../../../fixtures/images/index.ts'
import { globalOptions } from '../../../src/cli/input/global-flags.ts'
import { MemoryStore } from '../../support/registry/memory-store.ts'
import { startRegistry } from '../../support/registry/registry.ts'
import { airgap, residentAirgap, scratch, session, type Session } from '../../support/airgap.ts'
import { startInternet, type Internet } from '../../support/internet.ts'
import { expectShape, logLines } from '../../support/schemas.ts'

const JSON_LOG = ['--log-format', 'json']
const KEY = ['--key', 'airgap.pub']
const RUN = join(import.meta.dirname, '../../../bin/run.js')

let folder: Awaited<ReturnType<typeof scratch>>
let internet: Internet
let run: Session['run']
let good: Session['good']

beforeAll(async () => {
  folder = await scratch()
  internet = await startInternet()
  ;({ run, good } = session(folder.path, { AIRGAP_PASSWORD: 'corr3ct-horse' }))
  await good(['keygen'])
  const images = ['--kubeadm', 'v1.36.3', 'nginx:1.29']
  await good(['pack', ...images, ...internet.mirrors, '-o', 'all.tar', '--key', 'airgap.key'])
})

afterAll(async () => {
  await internet[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

describe('the flags, read before the command line is understood', () => {
  it.each<[string[], boolean, string]>([
    [[], false, 'text'],
    [['-q'], true, 'text'],
    [['--quiet'], true, 'text'],
    [['-qo', 'FILE'], true, 'text'],
    [['-oq'], false, 'text'],
    [['--name=-q'], false, 'text'],
    [['--', '-q', '--log-format', 'json'], false, 'text'],
    [['--log-format', 'json'], false, 'json'],
    [['--log-format=json', '--no-such'], false, 'json'],
    [['--log-format'], false, 'text'],
    [['--log-format', 'yaml'], false, 'text'],
  ])('%j', (argv, isQuiet, logFormat) => {
    expect(globalOptions(argv)).toEqual({ isQuiet, logFormat })
  })
})

describe('--log-format json', () => {
  it('tells of every image and every blob of a pack and a push, with totals', async () => {
    const packed = await good([
      'pack',
      '--kubeadm',
      'v1.36.3',
      ...internet.mirrors,
      '-o',
      'logged.tar',
      '--no-sign',
      ...JSON_LOG,
    ])
    expectWhole(logLines(packed.stderr), 'fetch')
    expect(packed.stdout).toContain('Packed 7 images')
    await using target = await startRegistry({ quirks: ['mount-401'] })
    const pushed = await good(['push', 'all.tar', target.host, ...KEY, ...JSON_LOG])
    const lines = logLines(pushed.stderr)
    expectWhole(lines, 'upload')
    expect(lines.filter(({ phase, event }) => phase === 'tag' && event === 'item')).toHaveLength(8)
    const read = await good(['push', 'all.tar', target.host, ...KEY, '--verify-target', ...JSON_LOG])
    expectWhole(logLines(read.stderr), 'read-back')
  })

  it('says what a transfer that is cut off is tried again for, and still counts every byte once', async () => {
    const store = new MemoryStore()
    seedRegistry(store, 'app:1', await singleManifest())
    await using broken = await startRegistry({ store, quirks: ['truncate-once', 'ignore-range'] })
    const { stderr } = await good(['pack', `${broken.host}/app:1`, '--no-sign', '-o', 'cut.tar', ...JSON_LOG])
    const lines = logLines(stderr)
    const retry = lines.find(({ event }) => event === 'retry')
    expect(retry).toMatchObject({ level: 'info', registry: broken.host, attempt: 1 })
    expectWhole(lines, 'fetch')
  })

  it('an error is a line, with --json beside the document', async () => {
    const args = ['verify', 'all.tar', ...KEY, '--expect-name', 'other', ...JSON_LOG]
    const { code, stdout, stderr } = await run(args)
    expect(stdout).toBe('')
    const last = logLines(stderr).at(-1)
    expect(last).toMatchObject({
      level: 'error',
      event: 'error',
      code: 'VERIFICATION_FAILED',
      exitCode: code,
    })
    const both = await run([...args, '--json'])
    expectShape('error', both.json())
    expect(logLines(both.stderr).at(-1)?.message).toBe(both.json<any>().error.message)
  })

  it.each([
    [['list', '--no-such-flag', ...JSON_LOG]],
    [['list', '--log-format=json', '--no-such-flag']],
    [['pack', 'nginx', ...JSON_LOG]],
    [['no-such-command', ...JSON_LOG]],
    [[...JSON_LOG, 'list', 'nginx']],
  ])('so is a mistake in the command line: %j', async (args) => {
    const { code, stdout, stderr } = await residentAirgap(args)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(logLines(stderr)).toEqual([
      expect.objectContaining({ level: 'error', code: 'USAGE', exitCode: 2 }),
    ])
  })

  it('an unknown format is refused', async () => {
    const { code, stderr } = await residentAirgap(['list', 'nginx', '--log-format', 'yaml'])
    expect(code).toBe(2)
    expect(stderr).toContain('text, json')
  })

  it('[duty: foreign-text] foreign text harms nobody and is whole', async () => {
    const name = 'a\u001b[2J\u202e\nb'
    const { stderr } = await residentAirgap(['list', name, ...JSON_LOG])
    for (const harmful of ['\u001b', '\u202e']) expect(stderr).not.toContain(harmful)
    expect(logLines(stderr)[0]?.message).toContain('\\u001b[2J')
    await writeFile(folder.file('odd\u001b[2J.txt'), 'nginx@\n')
    const file = await run(['list', '--images-from', 'odd\u001b[2J.txt', ...JSON_LOG])
    expect(file.stderr).not.toContain('\u001b')
    expect(logLines(file.stderr)[0]?.message).toContain('odd\u001b[2J.txt:1')
  })

  it('holds no secret', async () => {
    await using target = await startRegistry({ auth: { basic: { robot: 'right' } } })
    await writeFile(folder.file('password'), 'hunter2\n')
    const { code, stderr } = await run(['push', 'all.tar', target.host, ...KEY, ...JSON_LOG], {
      AIRGAP_REGISTRY: target.host,
      AIRGAP_REGISTRY_USERNAME: 'robot',
      AIRGAP_REGISTRY_PASSWORD_FILE: folder.file('password'),
    })
    expect(code).toBe(5)
    expect(logLines(stderr).at(-1)?.code).toBe('UNAUTHORIZED')
    expect(stderr).not.toContain('hunter2')
    expect(stderr).not.toContain(Buffer.from('robot:hunter2').toString('base64'))
  })

  it('with --quiet only warnings and errors are written', async () => {
    await using target = await startRegistry()
    const args = [
      'push',
      'all.tar',
      target.host,
      '--allow-unsigned',
      '--receipt',
      'quiet.json',
      '-q',
      ...JSON_LOG,
    ]
    const { stderr } = await good(args)
    expect(logLines(stderr).map(({ level }) => level)).toEqual(['warning'])
  })

  it("Node's own warnings are lines, too", async () => {
    await writeFile(
      folder.file('warn.mjs'),
      "process.once('beforeExit', () => process.emitWarning('from Node'))\n",
    )
    const env = { NODE_OPTIONS: '--import=./warn.mjs' }
    const { stderr } = await airgap(['list', 'nginx', ...JSON_LOG], { cwd: folder.path, env })
    expect(logLines(stderr)).toEqual([expect.objectContaining({ level: 'warning', message: 'from Node' })])
  })

  it('is what standard output that cannot be written is told in', async () => {
    const child = spawn(process.execPath, [RUN, 'list', 'nginx', ...JSON_LOG], {
      stdio: ['ignore', await fullDevice(), 'pipe'],
    })
    let stderr = ''
    child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    const [code] = (await once(child, 'close')) as [number]
    expect(code).toBe(7)
    expect(logLines(stderr)).toEqual([expect.objectContaining({ level: 'error', code: 'FILE', exitCode: 7 })])
  })

  it('does not change the result', async () => {
    const [plain, logged] = await Promise.all([
      run(['verify', 'all.tar', ...KEY]),
      run(['verify', 'all.tar', ...KEY, ...JSON_LOG]),
    ])
    expect(logged.stdout).toBe(plain.stdout)
    const lock = ['resolve', 'nginx:1.29', ...internet.mirrors, '--force', ...JSON_LOG]
    const { stderr } = await good([...lock, '-o', 'nginx.lock'])
    expect(logLines(stderr).at(-1)?.event).toBe('note')
    const piped = await good([...lock, '-o', '-'])
    expect(piped.stdout).toBe(await readFile(folder.file('nginx.lock'), 'utf8'))
  })
})

/** A phase that came to its end says so: its items are all its images and all its blobs. */
function expectWhole(lines: ReturnType<typeof logLines>, phase: string): void {
  const begin = lines.find((line) => line.event === 'phase' && line.phase === phase) as
    { images: { total: number }; blobs: { total: number }; bytes: { total: number } } | undefined
  const items = lines.filter((line) => line.event === 'item' && line.phase === phase)
  const images = items.filter(({ kind }) => kind === 'image')
  const blobs = items.filter(({ kind }) => kind === 'blob')
  expect(images.length).toBeGreaterThan(0)
  expect(images).toHaveLength(begin!.images.total)
  expect(new Set(images.map(({ name }) => name)).size).toBe(images.length)
  expect(blobs).toHaveLength(begin!.blobs.total)
  for (const blob of blobs) expect(blob.digest).toMatch(/^sha256:/)
}

async function fullDevice(): Promise<number> {
  const { openSync } = await import('node:fs')
  return openSync('/dev/full', 'w')
}
