import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { seedRegistry, singleManifest } from '../../../fixtures/images/index.ts'
import { escapeForeign, escapeLine, shellWord } from '../../../src/text.ts'
import { jsonLine } from '../../../src/cli/output/format.ts'
import { fitted } from '../../../src/cli/output/wrap.ts'
import { startRegistry, type EmbeddedRegistry } from '../../support/registry/registry.ts'
import { scratch, session, type Session } from '../../support/airgap.ts'

/** What a shell sees as the words behind `airgap` in a line that is pasted into it. */
function pasted(shell: 'sh' | 'bash', lines: readonly string[], cwd?: string): string[][] {
  const input = [`airgap() { for word; do printf '%s\\0' "$word"; done; printf '\\1\\0'; }`, ...lines].join(
    '\n',
  )
  const { stdout, stderr, status } = spawnSync(shell, { input, cwd, encoding: 'utf8', env: { LC_ALL: 'C' } })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return stdout
    .split('\u0001\0')
    .slice(0, -1)
    .map((command) => command.split('\0').slice(0, -1))
}

describe('a word to be pasted', () => {
  const harmless = fc.string({ unit: fc.constantFrom(...`ab/.:=-~ '"$\`;&|<>()[]{}*?!#\\%^é`.split('')) })

  it('is that very word to every shell, and nothing that it runs', () => {
    const words = fc.sample(harmless, 300)
    const lines = words.map((word) => `airgap ${shellWord(word)}`)
    expect(pasted('sh', lines)).toEqual(words.map((word) => [word]))
  })

  it.runIf(existsSync('/bin/bash'))(
    'has no character that a terminal hides, and is that word to bash',
    () => {
      const words = ['a\u3164b', 'a\nb', '\u001b[31m', "it's\u00a0", '\u{e0041}=\u202e', '\u2800', 'tab\t']
      for (const word of words) expect(shellWord(word)).toMatch(/^[ -~]+$/)
      expect(
        pasted(
          'bash',
          words.map((word) => `airgap ${shellWord(word)}`),
        ),
      ).toEqual(words.map((word) => [word]))
    },
  )

  it('is left alone where nothing has to be quoted', () => {
    for (const word of [
      'k8s.tar',
      './a-b_c.tar',
      'docker.io/library/nginx:1.29@sha256:ab',
      'a=b',
      '10.0.0.1:5000',
    ])
      expect(shellWord(word)).toBe(word)
    for (const word of ['', '=ls', '~', '[::1]:5000']) expect(shellWord(word)).toBe(`'${word}'`)
  })

  it('is not broken on a narrow terminal', () => {
    const command = `airgap resolve --config ${shellWord("my  images' list.yaml")} -o ${shellWord('my lock')} --force`
    const text = `It's not what the images' lists say. To renew it: ${command}`
    const lines = fitted(text, { isTTY: true, columns: 40 })
    expect(lines).not.toBe(text)
    expect(lines.replaceAll('\n', ' ')).toBe(text)
    expect(lines).toContain(shellWord("my  images' list.yaml"))
  })
})

describe('a text from outside', () => {
  // Of each kind that fonts and terminals show as nothing, as a blank, or as something else.
  const codes =
    `0 1b 7f 9b ad 34f 61c 115f 1160 17b4 180b 180e 200b 200d 200e 2028 2029 202e 2060 2064 2066 206f 2800
    3164 d800 e000 fe0f feff ffa0 fff0 fff9 ffff 13441 16fe4 1bca0 1d159 1d173 e0001 e0041 e0fff
    a0 1680 2003 202f 205f 3000`.split(/\s+/)

  it.each(codes)('shows U+%s as an escape, in JSON as one of its own', (code) => {
    const text = `a${String.fromCodePoint(Number.parseInt(code, 16))}b`
    expect(escapeForeign(text)).toBe(`a\\u{${code}}b`)
    const line = jsonLine({ text })
    expect(line).toMatch(/^[ -~]+\n$/)
    expect(JSON.parse(line)).toEqual({ text })
  })

  it('is left as it is where all of it is seen', () => {
    const text = 'Grüße, 世界, мир, 한국어, हिन्दी, עברית, العربية, 😀 é\u0301 … · –'
    expect(escapeForeign(text)).toBe(text)
    expect(escapeForeign('a\n\tb')).toBe('a\n\tb')
    expect(escapeLine('a\n\tb')).toBe('a\\n b')
  })
})

describe('commands that are printed', () => {
  const HOSTILE = `x;touch y;$(touch z)'s .tar`
  let folder: Awaited<ReturnType<typeof scratch>>
  let registry: EmbeddedRegistry
  let good: Session['good']
  let name: string

  beforeAll(async () => {
    folder = await scratch()
    ;({ good } = session(folder.path, { AIRGAP_PASSWORD: 'corr3ct-horse' }))
    registry = await startRegistry()
    seedRegistry(registry.store, 'app:1', await singleManifest())
    name = `${registry.host}/app:1`
    await good(['keygen', '--output-key-prefix', 'my key'])
  })

  afterAll(async () => {
    await registry.close()
    await folder[Symbol.asyncDispose]()
  })

  test.each<[string, () => string[], string[]]>([
    ['init', () => ['init', '-o', `${HOSTILE}.yaml`, name], ['list', '--config', `${HOSTILE}.yaml`]],
    [
      'resolve',
      () => ['resolve', name, '-o', `${HOSTILE}.lock`],
      ['pack', '--lock', `${HOSTILE}.lock`, '-o', 'FILE', '--key', 'KEY'],
    ],
    [
      'pack',
      () => ['pack', name, '-o', HOSTILE, '--key', 'my key.key'],
      ['verify', HOSTILE, '--key', 'my key.pub'],
    ],
    [
      'sign',
      () => ['sign', HOSTILE, '--key', 'my key.key', '--verify-key', 'my key.pub', '-o', `${HOSTILE}.json`],
      ['verify', HOSTILE, '--signature', `${HOSTILE}.json`, '--key', 'my key.pub'],
    ],
  ])('%s: the next one means the files that it names', async (_command, args, expected) => {
    const { stdout, stderr } = await good(args())
    const line = `${stdout}\n${stderr}`
      .split('\n')
      .find((text) => /\bairgap (?:list|pack|verify) /.test(text))
    const commands = pasted('sh', [line!.slice(line!.indexOf('airgap '))], folder.path)
    expect(commands).toEqual([expected])
    const files = await readdir(folder.path)
    expect(files.filter((file) => ['y', 'z'].includes(file))).toEqual([])
  })
})
