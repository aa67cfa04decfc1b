import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { archiveOf, draftOf, entriesOf, temporaryBundle } from '../support/build-bundle.ts'
import { airgap, scratch, session, type Session } from '../support/airgap.ts'

const ENV = { AIRGAP_PASSWORD: 'corr3ct-horse' }
const SIGN = ['sign', 'b.tar', '--key', 'airgap.key', '--integrity-only']

let folder: Awaited<ReturnType<typeof scratch>>
let good: Session['good']

beforeAll(async () => {
  folder = await scratch()
  ;({ good } = session(folder.path, ENV))
  // A process of its own opens the key, too.
  expect(await airgap(['keygen'], { cwd: folder.path, env: ENV })).toMatchObject({ code: 0 })
})
afterAll(() => folder[Symbol.asyncDispose]())

async function bundle(): Promise<string> {
  const draft = await draftOf([{ source: 'example.test/app:1', built: await singleManifest() }])
  await copyFile(await temporaryBundle(archiveOf(entriesOf(draft))), folder.file('b.tar'))
  return draft.description.images[0]?.digest ?? ''
}

/** Every Debian has it; where it is missing, the end-to-end tests say so. */
const hasScript = spawnSync('script', ['--version']).error === undefined

/** On a real pseudo-terminal, where somebody types. */
async function typing(answer: string, output: string, ...flags: string[]): Promise<[number, string]> {
  const words = [
    process.execPath,
    join(import.meta.dirname, '../../bin/run.js'),
    ...SIGN,
    '-o',
    output,
    ...flags,
  ]
  const command = words.map((word) => `'${word}'`).join(' ')
  const child = spawn('sh', ['-c', 'exec script -qec "$0" /dev/null', command], {
    cwd: folder.path,
    env: { ...ENV, PATH: process.env.PATH, HOME: '/nonexistent', TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let text = ''
  let isAnswered = false
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    if (isAnswered || !text.includes('[y/N]')) return
    isAnswered = true
    child.stdin.write(`${answer}\r`)
  })
  const [code] = (await once(child, 'close')) as [number]
  return [code, text]
}

describe('sign', () => {
  test('shows the images before it signs; where nobody can be asked, it signs', async () => {
    const digest = await bundle()
    const { stderr, stdout } = await good([...SIGN, '-o', 'script.json'])
    expect(stderr).toMatch(
      / B {2}example\.test\/app:1\n[^]*\nTo sign: b\.tar, complete and unaltered\n[^]*bundle digest/,
    )
    expect(stdout).toMatch(/^Signed b\.tar/m)
    const detailed = await good([...SIGN, '-o', 'detailed.json', '--images'])
    expect(detailed.stderr).toMatch(new RegExp(`example\\.test/app:1\n +${digest}\n`))
    expect((await good([...SIGN, '-q', '-o', 'quiet.json'])).stderr).toBe('')
  })

  test.runIf(hasScript)('asks on a terminal, and only yes signs; --yes does not ask', async () => {
    await bundle()
    const [no, refused] = await typing('', 'no.json', '--quiet')
    expect([no, existsSync(folder.file('no.json'))]).toEqual([6, false])
    expect(refused).toMatch(/example\.test\/app:1[^]*Sign this\?[^]*nothing was signed/)
    const [yes] = await typing('yes', 'yes.json')
    expect([yes, existsSync(folder.file('yes.json'))]).toEqual([0, true])
    const [unasked, text] = await typing('', 'unasked.json', '--yes')
    expect([unasked, existsSync(folder.file('unasked.json'))]).toEqual([0, true])
    expect(text).not.toContain('[y/N]')
  })
})
