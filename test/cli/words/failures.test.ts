import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startRegistry, type EmbeddedRegistry } from '../../support/registry/registry.ts'
import { seedImage } from '../../push/refusing.ts'
import { scratch, session, type Session } from '../../support/airgap.ts'
import { expectResult, expectShape, logLines } from '../../support/schemas.ts'

/** What is printed of images that cannot be had; what is done about them is tested with the library. */

let folder: Awaited<ReturnType<typeof scratch>>
let registry: EmbeddedRegistry
let run: Session['run']
let good: string
let missing: string

beforeAll(async () => {
  folder = await scratch()
  registry = await startRegistry()
  await seedImage(registry, 'good')
  good = `${registry.host}/good:1`
  missing = `${registry.host}/missing:1`
  ;({ run } = session(folder.path))
})

afterAll(async () => {
  await registry.close()
  await folder[Symbol.asyncDispose]()
})

it('without --skip-failed: 6, one document with every failure, and a line of the log for each', async () => {
  const args = ['pack', good, missing, '-o', 'a.tar', '--no-sign', '--json', '--log-format', 'json']
  const { code, json, stderr } = await run(args)
  expect(code).toBe(6)
  expectShape('error', json())
  expect(json()).toMatchObject({
    error: { code: 'INCOMPLETE', problems: [{ entry: missing, code: 'NOT_FOUND' }] },
  })
  const lines = logLines(stderr)
  expect(lines.filter(({ event }) => event === 'failed')).toMatchObject([
    { level: 'warning', name: missing, code: 'NOT_FOUND' },
  ])
  expect(lines.at(-1)).toMatchObject({ event: 'error', code: 'INCOMPLETE', exitCode: 6 })
  expect(await readdir(folder.path)).not.toContain('a.tar')
})

it('with it: 0, and every screen and document says what was left out', async () => {
  const resolved = await run(['resolve', good, missing, '--skip-failed', '-o', 'a.lock'])
  expect(resolved.code).toBe(0)
  expect(resolved.stdout).toContain(`\nleft out: ${missing}\n    because cannot fetch the manifest`)
  expect(resolved.stderr.trimEnd().split('\n').at(-1)).toMatch(
    /^Warning: 1 image is left out of .*a\.lock: it could/,
  )

  const packed = await run(['pack', '--lock', 'a.lock', '-o', 'b.tar', '--no-sign', '--json'])
  expect(packed.code).toBe(0)
  expectResult('pack', packed.json())
  const skipped = [{ source: missing, code: 'NOT_FOUND', message: expect.any(String) as string }]
  expect(packed.json()).toMatchObject({ skipped })
  expect(packed.stderr.trimEnd().split('\n').at(-1)).toMatch(
    /^Warning: 1 image is left out of b\.tar: it could/,
  )

  const verified = await run(['verify', 'b.tar', '--integrity-only', '--json'])
  expectResult('verify', verified.json())
  expect(verified.json()).toMatchObject({ skipped })
  const inspected = await run(['inspect', 'b.tar'])
  expect(inspected.stdout).toMatch(/left out +1 \(listed above\)/)
  expect(inspected.stdout).toContain(`\nleft out: ${missing}\n`)
})

it('what nobody wants is not left out; and a lock resolves nothing', async () => {
  const args = ['pack', '--lock', 'a.lock', '--no-sign']
  const without = await run([...args, '-o', 'c.tar', '--exclude', missing, '--json'])
  expect(without.code).toBe(0)
  expect(without.json()).not.toHaveProperty('skipped')
  expect(without.stderr).not.toContain('left out')
  const usage = await run([...args, '-o', 'd.tar', '--skip-failed'])
  expect(usage.code).toBe(2)
  expect(usage.stderr).toContain('--skip-failed cannot be given with it')
})
