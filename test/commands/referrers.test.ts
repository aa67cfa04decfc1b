import { afterAll, beforeAll, expect, it } from 'vitest'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { seedSigned, signedImage } from '../support/attached.ts'
import { scratch, session, type Session } from '../support/airgap.ts'
import { expectResult } from '../support/schemas.ts'

let folder: Awaited<ReturnType<typeof scratch>>
let source: EmbeddedRegistry
let run: Session['run']

beforeAll(async () => {
  folder = await scratch()
  ;({ run } = session(folder.path))
  source = await startRegistry()
  seedSigned(source.store, 'app', await signedImage('cli'))
})
afterAll(async () => {
  await source.close()
  await folder[Symbol.asyncDispose]()
})

const COUNT = '3 signatures, 1 Sigstore bundle, 1 attestation, 1 SBOM'

it('--referrers: pack, inspect and the plan of a push say what travels along', async () => {
  const packed = await run(['pack', `${source.host}/app:1`, '--no-sign', '-o', 'all.tar'])
  expect(packed.code).toBe(0)
  expect(packed.stdout).toContain(COUNT)
  expect(packed.stderr).toContain('Listing referrers of 1 image')
  const inspected = await run(['inspect', 'all.tar'])
  expect(inspected.stdout).toContain(`    with ${COUNT} (`)
  expect(Math.max(...inspected.stdout.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(80)
  const json = await run(['inspect', 'all.tar', '--json'])
  expectResult('inspect', json.json())
  expect(json.json<{ images: { referrers: unknown[] }[] }>().images[0]?.referrers).toHaveLength(6)
  await using target = await startRegistry()
  const plan = await run([
    'push',
    'all.tar',
    target.host,
    '--allow-unsigned',
    '--dry-run',
    '--referrers',
    'signatures',
    '--images',
  ])
  expect(plan.stdout).toContain('    will be pushed with it:\n      2 signatures, 1 Sigstore bundle (')
  expect(plan.stdout).toContain('    left out (--referrers):\n      1 attestation, 1 SBOM (')
})

it('--referrers none takes nothing along; with a lock it cannot be given, because the lock says it', async () => {
  const resolved = await run(['resolve', `${source.host}/app:1`, '--referrers', 'none', '-o', 'app.lock'])
  expect(resolved.code).toBe(0)
  const packed = await run(['pack', '--lock', 'app.lock', '--no-sign', '-o', 'none.tar'])
  expect(packed.stdout).toMatch(/^ {2}attached +nothing$/m)
  const both = await run(['pack', '--lock', 'app.lock', '--referrers', 'all', '--no-sign', '-o', 'x.tar'])
  expect(both.code).toBe(2)
  expect(both.stderr).toContain('--referrers cannot be given with it')
})
