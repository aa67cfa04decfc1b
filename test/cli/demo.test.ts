import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { scratch } from './airgap.ts'

it('the demo proves the arrival, and leaves the bundle and nothing else', async () => {
  await using folder = await scratch()
  const before = await readdir(tmpdir())
  const demo = join(import.meta.dirname, '../../bin/demo.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [demo], {
    cwd: folder.path,
    env: { PATH: process.env.PATH, HOME: '/nonexistent' },
  })
  for (const command of ['keygen', 'list', 'pack', 'inspect', 'verify', 'push']) {
    expect(stdout).toContain(`$ airgap ${command}`)
  }
  expect(stdout).toMatch(/9 tags, \d+ blobs, \d+ bytes equal to their sources/)
  expect(await readdir(folder.path)).toEqual(['airgap-demo.tar'])
  const left = (await readdir(tmpdir())).filter(
    (name) => name.startsWith('airgap-demo-') && !before.includes(name),
  )
  expect(left).toEqual([])
})
