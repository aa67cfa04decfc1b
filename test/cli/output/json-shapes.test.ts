import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildkitIndex, seedRegistry } from '../../../fixtures/images/index.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { startRegistry, type EmbeddedRegistry } from '../../support/registry/registry.ts'
import {
  residentAirgap as airgap,
  scratch,
  session,
  type Outcome,
  type Session,
} from '../../support/airgap.ts'
import { startInternet, type Internet } from '../../support/internet.ts'
import { COMMANDS, expectResult, expectShape, published, SCHEMAS } from '../../support/schemas.ts'

const ROOT = join(import.meta.dirname, '../../..')
const PLATFORMS = ['--platform', 'linux/amd64', '--platform', 'linux/arm64']
const IMAGES = ['--kubeadm', 'v1.36.3', 'nginx:1.29', 'ghcr.io/example/charts/hello:0.1.0']
const KEY = ['--key', 'airgap.pub']
const POLICY = `type: dev.airgap.policy
formatVersion: '1.0'
signers: { alice: { keys: [airgap.pub] } }
bundle: { maxAge: 1d }
`

let folder: Awaited<ReturnType<typeof scratch>>
let internet: Internet
let target: EmbeddedRegistry
let run: Session['run']
/** What each run gave on standard output, by name. */
const outputs = new Map<string, Outcome>()

/** Runs that succeed, in an order in which they can. `%` is the target. */
const RUNS: Record<string, string[]> = {
  list: ['list', ...IMAGES],
  keygen: ['keygen'],
  resolve: ['resolve', ...IMAGES, ...PLATFORMS, '-o', 'all.lock'],
  'pack, dry run': ['pack', '--lock', 'all.lock', '--key', 'airgap.key', '-o', 'all.tar', '--dry-run'],
  pack: [
    'pack',
    '--lock',
    'all.lock',
    '--key',
    'airgap.key',
    '-o',
    'all.tar',
    '--bundle-version',
    '7',
    '--expires',
    '2099-01-01',
  ],
  'pack, unsigned': ['pack', 'nginx:1.29', '--no-sign', '-o', 'unsigned.tar'],
  inspect: ['inspect', 'all.tar'],
  verify: ['verify', 'all.tar', ...KEY],
  'verify, with a report': ['verify', 'all.tar', ...KEY, '--report', 'r.json', '--report-key', 'airgap.key'],
  'verify, integrity only': ['verify', 'unsigned.tar', '--integrity-only'],
  sign: ['sign', 'all.tar', '--key', 'airgap.key', '--verify-key', 'airgap.pub', '-o', 'approved.json'],
  'sign, integrity only': ['sign', 'unsigned.tar', '--key', 'airgap.key', '-o', 'approved-too.json'],
  'verify, policy': ['verify', 'all.tar', '--policy', 'policy.yaml'],
  'push, policy': ['push', 'all.tar', '%/policy', '--policy', 'policy.yaml', '--state', 'sequences.json'],
  'push, dry run': ['push', 'all.tar', '%', ...KEY, '--dry-run', '--move-tags'],
  'push, another plan': ['push', 'all.tar', '%/p', ...KEY, '--dry-run', '--path', 'flat', '--sparse-index'],
  push: ['push', 'all.tar', '%', ...KEY, '--move-tags'],
  'push again': ['push', 'all.tar', '%', ...KEY, '--verify-target'],
  'keygen, for images': ['keygen', '--output-key-prefix', 'cluster'],
  'push, signed': [
    'push',
    'all.tar',
    '%/s',
    ...KEY,
    '--receipt',
    'signed.json',
    '--sign-images',
    'cluster.key',
  ],
  'push, signed, dry run': ['push', 'all.tar', '%/s', ...KEY, '--dry-run', '--sign-images', 'cluster.key'],
  policy: ['policy', 'kyverno', '%/s', '--key', 'cluster.pub'],
  'policy, files': ['policy', 'containers', '%', '%/s', '--key', 'cluster.pub', '-o', 'nodes'],
  'push, unsigned': ['push', 'unsigned.tar', '%/other', '--allow-unsigned', '--receipt', 'unsigned.json'],
}

beforeAll(async () => {
  folder = await scratch()
  internet = await startInternet()
  target = await startRegistry()
  // A tag that will move.
  seedRegistry(target.store, 'docker.io/library/nginx:1.29', await buildkitIndex())
  await writeFile(folder.file('policy.yaml'), POLICY)
  ;({ run } = session(folder.path, { AIRGAP_PASSWORD: 'corr3ct-horse' }))
  for (const [name, args] of Object.entries(RUNS)) {
    const isResolving = args[0] === 'resolve' || args[0] === 'pack'
    const given = args.map((arg) => arg.replace('%', target.host))
    outputs.set(name, await run([...given, ...(isResolving ? internet.mirrors : []), '--json']))
  }
})

afterAll(async () => {
  await target.close()
  await internet[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

function output<T = Record<string, any>>(name: string): T {
  return outputs.get(name)!.json<T>()
}

describe('what is published', () => {
  it.each(Object.keys(SCHEMAS) as (keyof typeof SCHEMAS)[])(
    'docs/schemas/%s.schema.json is the schema in the code (vitest -u renews it)',
    async (name) => {
      await expect(`${JSON.stringify(published(name), null, 2)}\n`).toMatchFileSnapshot(
        join(ROOT, `docs/schemas/${name}.schema.json`),
      )
    },
  )

  it('nothing else lies there, and the guide names every command and every schema', async () => {
    const files = await readdir(join(ROOT, 'docs/schemas'))
    // Those of files that users write are renewed, and held to what is read, beside their parsers.
    const names = [...Object.keys(SCHEMAS), 'airgap-config', 'airgap-policy', 'upstream-policy'].toSorted()
    expect(files.toSorted()).toEqual(names.map((name) => `${name}.schema.json`))
    const guide = await readFile(join(ROOT, 'docs/library.md'), 'utf8')
    for (const file of files) expect(guide).toContain(`schemas/${file}`)
    for (const command of Object.keys(COMMANDS)) expect(guide).toContain(`\`${command}`)
  })

  it('every command has a schema, and its output is held to it somewhere', async () => {
    const commands = await commandNames()
    expect(Object.keys(COMMANDS).toSorted()).toEqual(commands)
    const tests = await readdir(join(ROOT, 'test'), { recursive: true })
    const texts = await Promise.all(
      tests
        .filter((name) => name.endsWith('.test.ts'))
        .map((name) => readFile(join(ROOT, 'test', name), 'utf8')),
    )
    const runHere = new Set(Object.values(RUNS).map(([command]) => command))
    const unproven = commands.filter(
      (command) => !runHere.has(command) && !texts.some((text) => text.includes(`expectResult('${command}'`)),
    )
    expect(unproven).toEqual([])
  })

  it('every field of a schema has a type, and every object names its fields', () => {
    for (const name of Object.keys(SCHEMAS) as (keyof typeof SCHEMAS)[]) {
      const text = JSON.stringify(published(name))
      expect(text).not.toMatch(/"[a-zA-Z]+":\{\}/)
    }
  })
})

describe('what comes out', () => {
  it.each(Object.keys(RUNS))('%s', (name) => {
    const { code, stderr, stdoutBytes } = outputs.get(name)!
    expect(stderr).not.toContain('Error')
    expect(code).toBe(0)
    expect(stdoutBytes.at(-1)).toBe(10)
    expectResult(RUNS[name]![0]!, output(name))
  })

  it('one bundle is named alike by all commands', () => {
    const { bundle } = output('pack')
    const { size, entries, ...identity } = bundle
    expect(size).toBeGreaterThan(0)
    expect(entries).toBeGreaterThan(0)
    for (const name of ['inspect', 'verify', 'push, dry run', 'push', 'push again'])
      expect(output(name).bundle).toMatchObject(identity)
    for (const name of ['inspect', 'verify']) expect(output(name).bundle).toMatchObject({ size, entries })
    const sources = (name: string): string[] =>
      output(name).images.map((one: { source: string }) => one.source)
    for (const name of ['resolve', 'pack', 'inspect', 'verify', 'push, dry run', 'push'])
      expect(sources(name).toSorted()).toEqual(sources('list').toSorted())
  })

  it('the key that signed is the key that was checked', () => {
    const { keyFingerprint } = output('keygen')
    expect(output('pack').keyFingerprint).toBe(keyFingerprint)
    expect(output('verify').authentication.keyFingerprint).toBe(keyFingerprint)
    expect(output('push').authentication.keyFingerprint).toBe(keyFingerprint)
    expect(output('push, unsigned').authentication).toEqual({ state: 'not-checked' })
    expect(output('inspect').authentication).toEqual({ state: 'not-checked' })
    expect(output('inspect').hasSignature).toBe(true)
    expect(output('verify, integrity only').hasSignature).toBe(false)
    expect(output('sign').keyFingerprint).toBe(keyFingerprint)
    expect(output('sign').authentication.keyFingerprint).toBe(keyFingerprint)
    expect(output('sign, integrity only').authentication).toEqual({ state: 'not-checked' })
    expect(output('sign, integrity only').verdict).toBe('integrity-only')
  })

  it('a policy is named with what it has found, wherever a bundle is opened', () => {
    const { policy, rules } = output('verify, policy')
    expect(policy).toMatchObject({ file: 'policy.yaml', signatures: [{ signer: 'alice', counts: true }] })
    expect(rules).toMatchObject([
      { rule: 'require', ok: true, found: 'signed by alice' },
      { rule: 'bundle.maxAge', ok: true },
    ])
    expect(output('push, policy')).toMatchObject({ policy, rules, sequenceMemory: 'none' })
    expect(output('push').sequenceMemory).toBe('off')
  })

  it('the plan of a push is what the push then does', () => {
    const plan = output('push, dry run')
    const receipt = output('push')
    expect(plan.target).toEqual(receipt.target)
    const done = structuredClone(receipt.images) as Record<string, unknown>[]
    for (const image of done) delete image.content
    expect(plan.images).toEqual(done)
    expect(plan.totals.tagsMoved).toBe(1)
    expect(receipt.totals.uploaded).toEqual(plan.totals.uploaded)
    expect(receipt.totals.mounted).toEqual(plan.totals.mounted)
  })

  it('the key that images are signed with is the one that the policy asks for', () => {
    const { keyFingerprint } = output('keygen, for images')
    expect(output('push, signed').imageSigning.keyFingerprint).toBe(keyFingerprint)
    expect(output('policy').keyFingerprints).toEqual([keyFingerprint])
    expect(output('policy, files').folder).toBe('nodes')
    type Signed = { imageSignatures: { state?: string; outcome?: string }[] }
    const states = (name: string): (string | undefined)[] =>
      (output(name).images as Signed[]).flatMap((one) =>
        one.imageSignatures.map((each) => each.state ?? each.outcome),
      )
    expect(new Set(states('push, signed'))).toEqual(new Set(['signed']))
    expect(new Set(states('push, signed, dry run'))).toEqual(new Set(['present']))
  })

  it('files are what was printed', async () => {
    const { receiptFile, report, ...receipt } = output('push')
    const written = JSON.parse(await readFile(folder.file(receiptFile as string), 'utf8')) as unknown
    expectShape('receipt', written)
    expect(written).toEqual(receipt)
    for (const { file, digest } of [report, output('verify, with a report').report]) {
      const bytes = await readFile(folder.file(file as string))
      expect(digestOf(bytes)).toBe(digest)
      expectShape('report', JSON.parse(bytes.toString()))
    }
    const lock = JSON.parse(await readFile(folder.file('all.lock'), 'utf8')) as unknown
    expectShape('lock', lock)
    expect(lock).toEqual(output('resolve'))
    const tar = await readFile(folder.file('all.tar'))
    const start = tar.indexOf('airgap.json\0') + 512
    const size = Number.parseInt(tar.toString('latin1', start - 512 + 124, start - 512 + 135), 8)
    expectShape('bundle-description', JSON.parse(tar.toString('utf8', start, start + size)))
  })
})

describe('what a failure gives', () => {
  it('every command: a mistake in its flags', async () => {
    for (const command of await commandNames()) {
      const { code, json, stderr } = await airgap([command, '--json', '--no-such-flag'])
      expectShape('error', json())
      expect(json<{ error: { code: string } }>().error.code).toBe('USAGE')
      expect(code).toBe(2)
      expect(stderr).toBe('')
    }
  })

  it('a command that there is not', async () => {
    for (const args of [
      ['no-such-command', '--json'],
      ['--json', 'no-such-command'],
    ]) {
      const { code, json } = await airgap(args)
      expectShape('error', json())
      expect(code).toBe(2)
    }
  })

  it.each<[string, string[], string, number]>([
    ['list', ['list', 'Nginx'], 'INVALID_REFERENCE', 2],
    ['resolve', ['resolve', '@/no/such:1', '@/nothing:1'], 'NOT_FOUND', 4],
    ['keygen over files', ['keygen'], 'OUTPUT_EXISTS', 7],
    ['pack without a word on signing', ['pack', 'nginx', '-o', 'x.tar'], 'USAGE', 2],
    ['inspect of no bundle', ['inspect', 'airgap.pub'], 'VERIFICATION_FAILED', 3],
    ['verify of another name', ['verify', 'all.tar', ...KEY, '--expect-name', 'x'], 'VERIFICATION_FAILED', 3],
    ['verify of an altered file', ['verify', 'altered.tar', ...KEY], 'VERIFICATION_FAILED', 3],
    ['push onto a taken tag', ['push', 'all.tar', '%', ...KEY, '--path', 'full'], 'TAG_WOULD_MOVE', 2],
  ])('%s', async (_, args, expected, exitCode) => {
    const altered = await readFile(folder.file('all.tar'))
    altered.writeUInt8(altered.readUInt8(altered.length - 1100) ^ 1, altered.length - 1100)
    await writeFile(folder.file('altered.tar'), altered)
    seedRegistry(target.store, 'docker.io/library/nginx:1.29', await buildkitIndex())
    const given = args.map((arg) => arg.replace('%', target.host).replace('@', internet.registry.host))
    const { code, json, stderr } = await run([...given, '--json'])
    expectShape('error', json())
    const { error } = json<{ error: { code: string; problems?: unknown[] } }>()
    expect(error.code).toBe(expected)
    if (['VERIFICATION_FAILED', 'TAG_WOULD_MOVE', 'NOT_FOUND'].includes(expected))
      expect(error.problems?.length).toBeGreaterThan(0)
    expect(code).toBe(exitCode)
    expect(stderr).not.toContain('Error')
  })
})

async function commandNames(): Promise<string[]> {
  const files = await readdir(join(ROOT, 'src/commands'), { recursive: true })
  return files
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.slice(0, -3))
    .toSorted()
}
