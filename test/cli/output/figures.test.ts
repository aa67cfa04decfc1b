import { afterAll, beforeAll, expect, test } from 'vitest'
import { verify } from '../../../src/verify/verify.ts'
import { startRegistry, type EmbeddedRegistry } from '../../support/registry/registry.ts'
import type { TransferEvent } from '../../../src/content/events.ts'
import { scratch, session, type Outcome, type Session } from '../../support/airgap.ts'
import { startInternet, type Internet } from '../../support/internet.ts'

const ENV = { AIRGAP_PASSWORD: 'corr3ct-horse' }
const NAMES = ['nginx:1.29', 'ghcr.io/example/charts/hello:0.1.0']
const KEY = ['--key', 'airgap.pub']

let folder: Awaited<ReturnType<typeof scratch>>
let internet: Internet
let target: EmbeddedRegistry
let good: Session['good']
let packed: Outcome

beforeAll(async () => {
  folder = await scratch()
  ;({ good } = session(folder.path, ENV))
  ;[internet, target] = await Promise.all([startInternet(), startRegistry()])
  await good(['keygen'])
  packed = await good(['pack', ...wanted(), '-o', 'b.tar', '--key', 'airgap.key'])
})

afterAll(async () => {
  await internet[Symbol.asyncDispose]()
  await target.close()
  await folder[Symbol.asyncDispose]()
})

function wanted(): string[] {
  return ['--kubeadm', 'v1.36.3', ...NAMES, '--platform', 'linux/amd64', ...internet.mirrors]
}

/** Each line of standard error that names an image, by that name. */
function linesOf(stderr: string, name: string): string[] {
  return stderr.split('\n').filter((line) => line.includes(name))
}

test('one bundle has the same figures wherever it is shown', async () => {
  type Sum = { count: number; bytes: number }
  type Figures = { blobs: Sum; manifests: Sum; images: object[]; bundle: { size: number; entries: number } }
  const plan = await good(['pack', ...wanted(), '-o', 'b.tar', '--key', 'airgap.key', '--dry-run', '--json'])
  const inspected = (await good(['inspect', 'b.tar', '--json'])).json<Figures>()
  const verified = (await good(['verify', 'b.tar', ...KEY, '--json'])).json<Figures>()
  const planned = plan.json<Figures & { fetched: Sum }>()
  for (const { blobs, manifests, bundle, images } of [planned, inspected]) {
    expect({ blobs, manifests }).toEqual({ blobs: verified.blobs, manifests: verified.manifests })
    expect(bundle.entries).toBe(verified.bundle.entries)
    expect(images).toHaveLength(9)
  }
  // Everything else is described by name: the list, its two signatures, and four files.
  expect(verified.blobs.count + verified.manifests.count).toBe(verified.bundle.entries - 7)

  const { blobs, manifests } = verified
  const content = `${blobs.count} blobs and ${manifests.count} manifests`
  for (const args of [
    ['inspect', 'b.tar'],
    ['verify', 'b.tar', ...KEY],
  ])
    expect((await good(args)).stdout).toContain(content)
  expect(packed.stdout).toContain(content)
  expect(packed.stdout).toContain('Packed 9 images (1 of them an artifact)')

  const push = ['push', 'b.tar', target.host, ...KEY, '--receipt', 'r.json']
  type Totals = { totals: { uploaded: Sum; mounted: Sum; manifests: { uploaded: Sum; present: Sum } } }
  const will = (await good([...push, '--dry-run', '--json'])).json<Totals>()
  expect(will.totals.uploaded).toEqual(blobs)
  const { stdout } = await good(push)
  expect(stdout).toMatch(new RegExp(`uploaded +${blobs.count} blobs`))
  expect(stdout).toContain('Pushed 9 images')
})

test('in a pipe, each image has one line, whatever is done to it', async () => {
  await using other = await startRegistry()
  const pushed = await good(['push', 'b.tar', other.host, ...KEY, '--receipt', 'once.json'])
  const again = await good([
    'push',
    'b.tar',
    other.host,
    ...KEY,
    '--receipt',
    'twice.json',
    '--verify-target',
  ])
  for (const { stderr } of [packed, pushed, again]) {
    for (const name of ['docker.io/library/nginx:1.29', ...NAMES.slice(1), 'registry.k8s.io/pause:'])
      expect(linesOf(stderr, name), stderr).toHaveLength(1)
  }
})

test('images are done one by one, from early on, and their number is the bundle’s', async () => {
  const told: TransferEvent[] = []
  await verify(folder.file('b.tar'), {
    keys: [folder.file('airgap.pub')],
    onEvent: (event) => told.push(event),
  })
  expect(told[0]).toMatchObject({ type: 'phase', phase: 'check', images: 9 })
  const done = (events: readonly TransferEvent[]): number =>
    events.filter(({ type }) => type === 'image').length
  expect(done(told)).toBe(9)
  const items = told.filter(({ type }) => type === 'item')
  const half = told.indexOf(items[Math.floor(items.length / 2)]!)
  expect(done(told.slice(0, half))).toBeGreaterThanOrEqual(3)
})

test('the verdict stands last: who has signed, the bundle’s digest, and what to type next', async () => {
  await using other = await startRegistry()
  const push = ['push', 'b.tar', other.host, ...KEY, '--receipt', 'last.json']
  const sign = ['sign', 'b.tar', '--key', 'airgap.key', '--verify-key', 'airgap.pub', '-o', 's.json']
  const signed = 'signed by\\s+(?:key )?[0-9a-f]{64}'
  const digest = 'bundle digest\\s+sha256:[0-9a-f]{64}'
  const ends: [outcome: Outcome, head: string, who: string, next: string][] = [
    [packed, 'Packed 9 images', signed, 'airgap verify b\\.tar --key airgap\\.pub'],
    [
      await good(['verify', 'b.tar', ...KEY]),
      'b\\.tar: GOOD: complete, unaltered',
      signed,
      'airgap push b\\.tar REGISTRY --key airgap\\.pub --dry-run',
    ],
    [
      await good([...push, '--dry-run']),
      'Plan: 9 images\\. Nothing was sent',
      signed,
      `airgap push b\\.tar ${other.host} --key airgap\\.pub --receipt last\\.json`,
    ],
    [await good(push), 'Pushed 9 images', signed, 'configure the nodes with the lines above'],
    [
      await good(sign),
      'Signed b\\.tar: complete, unaltered',
      `made by\\s+key [0-9a-f]{64}\\n  approved by\\s+key [0-9a-f]{64}`,
      'airgap verify b\\.tar --signature s\\.json --key airgap\\.pub',
    ],
  ]
  for (const [{ stdout }, head, who, next] of ends) {
    // Nothing but the verdict's own lines stands between it and the end.
    const end = `\\n\\n${head}.*\\n  ${who}\\n  ${digest}\\n(?:[^\\n]+\\n){0,2}Next: ${next}\\n$`
    expect(stdout).toMatch(new RegExp(end))
  }
  const resolved = await good(['resolve', ...wanted(), '-o', 'b.lock'])
  expect(resolved.stderr).toMatch(
    /\nPinned 9 images \(1 of them an artifact\) in b\.lock\nNext: airgap pack --lock b\.lock -o FILE --key KEY\n$/,
  )
})

test('each image has one line, and with --images its details', async () => {
  await using other = await startRegistry()
  const push = ['push', 'b.tar', other.host, ...KEY]
  for (const args of [
    ['verify', 'b.tar', ...KEY],
    [...push, '--dry-run'],
    [...push, '--receipt', 'brief.json'],
    ['resolve', ...wanted(), '-o', 'brief.lock'],
  ]) {
    const name = /^.*docker\.io\/library\/nginx:1\.29.*\n(.*)$/m
    const brief = await good(args)
    expect(linesOf(brief.stdout, 'nginx:1.29')).toHaveLength(1)
    expect(name.exec(brief.stdout)?.[1]).toContain('registry.k8s.io/coredns')
    const more = args.map((word) => word.replace('brief', 'full'))
    const full = await good([...more, '--images'])
    expect(full.stdout).toMatch(/nginx:1\.29\n(?: +\S+\n)? +sha256:[0-9a-f]{64}\n/)
  }
})
