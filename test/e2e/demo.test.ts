import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { CACHE, scratch } from '../support/airgap.ts'

it('the demo proves the arrival, and leaves the bundle and nothing else', async () => {
  await using folder = await scratch()
  // Its own, since others may be at the same demo on this machine.
  await using temporary = await scratch()
  const demo = join(import.meta.dirname, '../../bin/demo.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [demo], {
    cwd: folder.path,
    env: { PATH: process.env.PATH, HOME: '/nonexistent', NODE_COMPILE_CACHE: CACHE, TMPDIR: temporary.path },
  })
  for (const command of ['keygen', 'list', 'pack', 'inspect', 'verify', 'push']) {
    expect(stdout).toContain(`$ airgap ${command}`)
  }
  expect(stdout).toMatch(/9 tags, \d+ blobs, \d+ bytes equal to their sources/)
  expect(await readdir(folder.path)).toEqual(['airgap-demo.tar'])
  expect((await readdir(temporary.path)).filter((name) => name.startsWith('airgap'))).toEqual([])
})
