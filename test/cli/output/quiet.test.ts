import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { styler } from '../../../src/cli/output/terminal.ts'
import { startRegistry, type EmbeddedRegistry } from '../../support/registry/registry.ts'
import { residentAirgap as airgap, scratch, session, type Session } from '../../support/airgap.ts'
import { startInternet, type Internet } from '../../support/internet.ts'

const KEY = ['--key', 'airgap.pub']
const ENV = { AIRGAP_PASSWORD: 'corr3ct-horse', SOURCE_DATE_EPOCH: '1790000000' }
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/

let folder: Awaited<ReturnType<typeof scratch>>
let internet: Internet
let target: EmbeddedRegistry
let run: Session['run']

beforeAll(async () => {
  folder = await scratch()
  internet = await startInternet()
  target = await startRegistry()
  ;({ run } = session(folder.path, ENV))
})

afterAll(async () => {
  await target.close()
  await internet[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

/** Every command, in an order in which they can run; `$` numbers the outputs, so that none is in another's way. */
const COMMANDS: string[][] = [
  ['list', 'nginx'],
  ['keygen', '--output-key-prefix', 'key-$'],
  ['resolve', 'nginx:1.29'],
  ['pack', 'nginx:1.29', '-o', '$.tar', '--key', 'airgap.key', '--name', 'demo'],
  ['inspect', '0.tar'],
  ['verify', '0.tar', ...KEY],
  ['push', '0.tar', '%', ...KEY, '--dry-run'],
  ['push', '0.tar', '%', ...KEY, '--receipt', '$.json'],
]

/** Must not bring back what a pipe has no use for. */
const COLOURFUL = { TERM: 'xterm-256color', COLORTERM: 'truecolor', FORCE_COLOR: '1' }

describe('in a pipe', () => {
  it('no command writes control codes, and --quiet leaves nothing but the result', async () => {
    expect((await run(['keygen', '-q'])).stderr).toBe('')
    let number = 0
    const filled = (args: string[]): string[] => {
      const given = args.map((arg) => arg.replace('$', String(number)).replace('%', target.host))
      return [...given, ...(['resolve', 'pack'].includes(args[0]!) ? internet.mirrors : [])]
    }
    for (const args of COMMANDS) {
      // Colours are chosen when a process begins.
      const options = { cwd: folder.path, env: ENV, begun: COLOURFUL }
      const { code, stdout, stderr } = await airgap(filled(args), options)
      expect(stderr).not.toContain('Error')
      expect(code).toBe(0)
      expect(stdout + stderr).not.toMatch(CONTROL)
    }
    number += 1
    for (const args of COMMANDS) {
      const { code, stdout, stderr } = await run([...filled(args), '--quiet'])
      expect(stderr).toBe('')
      expect(code).toBe(0)
      expect(stdout).not.toBe('')
    }
  })
})

describe('--quiet', () => {
  it('may be one letter of several', async () => {
    const { stderr, code } = await run(['resolve', 'nginx:1.29', ...internet.mirrors, '-qo', 'letters.lock'])
    expect(code).toBe(0)
    expect(stderr).toBe('')
    expect(await readFile(folder.file('letters.lock'), 'utf8')).toContain('dev.airgap.lock')
    const file = await run(['resolve', 'nginx:1.29', ...internet.mirrors, '-oq.lock'])
    expect(file.stderr).toMatch(/Pinned 1 image in .*q\.lock/)
  })

  it('says nothing of a bundle on standard output, either', async () => {
    const args = ['pack', 'nginx:1.29', ...internet.mirrors, '-o', '-', '--no-sign']
    expect((await run(args)).stderr).toContain('Packed 1 image into standard output')
    expect((await run([...args, '-q'])).stderr).toBe('')
  })

  it('does not hide a warning or an error', async () => {
    const empty = await run(['keygen', '-q', '--output-key-prefix', 'open'], { AIRGAP_PASSWORD: '' })
    expect(empty.stderr).toMatch(/^Warning: the password is empty[^\n]*\n$/)
    const refused = await run(['verify', 'no-such.tar', ...KEY, '-q'])
    expect(refused.stderr).toContain('Error: ')
    expect(refused.code).toBe(7)
  })
})

describe('colours', () => {
  it.each<[Record<string, string | undefined>, boolean, boolean]>([
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: '1' }, true, false],
    // https://no-color.org: when present and not an empty string.
    [{ NO_COLOR: '' }, true, true],
    [{ CI: 'true' }, true, false],
    [{ TERM: 'dumb' }, true, false],
  ])('%j on a terminal (%s): %s', (env, isTTY, expected) => {
    for (const name of ['NO_COLOR', 'CI', 'TERM']) vi.stubEnv(name, env[name])
    const text = styler({ isTTY })('red', 'words')
    expect(text.includes('\u001b')).toBe(expected)
    vi.unstubAllEnvs()
  })
})
