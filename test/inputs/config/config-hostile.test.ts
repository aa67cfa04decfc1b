import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import { parseConfig } from '../../../src/inputs/config/config.ts'
import { anyText } from '../../support/any-text.ts'

/** Files that nobody writes by mistake. */

function refusal(text: string | Uint8Array): string[] {
  try {
    parseConfig(Buffer.from(text), 'c')
  } catch (error) {
    expect(error).toBeInstanceOf(AirgapError)
    const { code, message, problems } = error as AirgapError
    expect(code).toBe('INVALID_CONFIG')
    return problems.length === 0
      ? [message]
      : problems.map((problem) => `${problem.entry}: ${problem.message}`)
  }
  throw new Error('it was taken')
}

const after = (line: string): string => `configVersion: 1\n${line}`

describe('YAML that is not read', () => {
  it.each<[what: string, text: string, message: string]>([
    ['an anchor', after('name: &a x'), 'c:2:10: the anchor "&a" has no use here'],
    ['an anchor on a list', after('images: &a\n  - x'), 'the anchor "&a" has no use here'],
    ['an anchor on a key', after('&a name: x'), 'the anchor "&a" has no use here'],
    ['an alias', after('name: *a'), 'c:2:7: "*a" without quotes is a YAML alias'],
    [
      'a pattern without quotes',
      after('exclude:\n  - *-alpine'),
      'c:3:5: "*-alpine" without quotes is a YAML alias',
    ],
    ['a lone star', after('exclude:\n  - *'), 'put a pattern that begins with * in quotes'],
    ['a merge key', after('<<: {name: x}'), 'c:2:1: merge keys (<<) are not supported'],
    [
      'a tag of JavaScript',
      after('name: !!js/function "x"'),
      'c:2:21: the tag "tag:yaml.org,2002:js/function"',
    ],
    [
      'a tag of YAML 1.1',
      after('name: !!binary aGk='),
      'the tag "tag:yaml.org,2002:binary" is not known here',
    ],
    ['a set', after('images: !!set {a, b}'), 'the tag "tag:yaml.org,2002:set" is not known here'],
    ['a local tag', after('name: !env HOME'), 'c:2:12: the tag "!env" is not known here'],
    [
      'a tag by another name',
      '%TAG !e! tag:example,2000:\n---\nname: !e!x y',
      'the tag "tag:example,2000:x"',
    ],
    ['a second document', after('---\nname: x'), 'a second document begins here'],
    ['a document after an end', after('...\nname: x'), 'a second document begins here'],
    ['YAML 1.1', '%YAML 1.1\n---\nconfigVersion: 1\n', 'c:1:1: it asks for another YAML version than 1.2'],
    ['an unknown directive', '%FOO x\n---\nconfigVersion: 1\n', 'Unknown directive %FOO'],
    ['a tab for indent', after('images:\n\t- x'), 'c:3:1: Tabs are not allowed as indentation; use spaces'],
    ['a colon in a value', after('name: a: b'), 'c:2:7: '],
    ['an open quote', after('name: "x'), 'Missing closing "quote'],
    ['an open bracket', after('images: [x'), 'c:2:11: '],
    ['a reserved character', after('name: @x'), 'put the text in quotes'],
    ['a zero byte', after('name: a\0b'), 'c:2:8: the character U+0000 does not belong'],
    ['an escape', after('# \u001b[2J'), 'c:2:3: the character U+001B does not belong'],
    ['a C1 control', after('name: a\u0085b'), 'c:2:8: the character U+0085 does not belong'],
    ['a line separator', after('name: a\u2028images: [x]'), 'c:2:8: the character U+2028 does not belong'],
    ['a turned direction', after('# \u202e'), 'c:2:3: the character U+202E does not belong'],
    ['an isolate', after('name: x # \u2066'), 'c:2:11: the character U+2066 does not belong'],
    ['a carriage return alone', 'configVersion: 1\rname: x', 'c:1:17: the character U+000D does not belong'],
    ['a byte order mark inside', after('\uFEFFname: x'), 'c:2:1: the character U+FEFF does not belong'],
  ])('%s', (_, text, message) => {
    expect(refusal(text).join('\n')).toContain(message)
  })

  it.each([
    ['UTF-16', Buffer.from('\uFEFFconfigVersion: 1\n', 'utf16le')],
    ['Latin-1', Buffer.from('configVersion: 1\nname: caf\u00e9\n', 'latin1')],
  ])('%s', (_, bytes) => {
    expect(refusal(bytes)).toEqual([expect.stringContaining('c: it is not UTF-8 text')])
  })

  it('half a surrogate pair, which no bundle could carry', () => {
    expect(refusal(after('name: "a\\ud800"'))).toEqual(['c:2:7: name holds half a surrogate pair'])
    expect(parseConfig(Buffer.from(after('name: "\\ud83d\\ude00"')), 'c').config.name).toBe('\u{1F600}')
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'])('a key called %s', (key) => {
    expect(refusal(after(`${key}: {polluted: true}`))).toEqual([`c:2:1: there is no key "${key}"`])
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  it('[duty: yaml] a billion laughs', () => {
    const levels = Array.from('abcdefgh', (name, i) =>
      i === 0 ? `a: &a [x, x]` : `${name}: &${name} [${`*${'abcdefgh'[i - 1]}, `.repeat(9)}]`,
    )
    const found = refusal(levels.join('\n'))
    expect(found[0]).toContain('the anchor')
    expect(found.some((line) => line.includes('is a YAML alias'))).toBe(true)
  })
})

describe('deep nesting', () => {
  it.each([
    ['open lists', '['.repeat(20_000)],
    ['closed lists', '['.repeat(5000) + ']'.repeat(5000)],
    ['mappings', '{a: '.repeat(20_000)],
    ['dashes', '- '.repeat(20_000)],
    ['question marks', '? '.repeat(20_000)],
    ['indented keys', Array.from({ length: 900 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')],
    ['lists as keys', '? ['.repeat(5000)],
  ])('[duty: yaml] %s are refused before anything recurses', (_, text) => {
    expect(refusal(text)).toEqual([expect.stringMatching(/^c:\d+:\d+: it is nested deeper than 16 levels$/)])
  })

  it('is told at the place where it becomes too deep', () => {
    expect(refusal(after(`images: ${'['.repeat(20)}`))).toEqual([
      'c:2:24: it is nested deeper than 16 levels',
    ])
    expect(refusal(after(`images: ${'['.repeat(15)}x${']'.repeat(15)}`))[0]).toContain(
      'item 1 of images must be text',
    )
  })
})

describe('large files', () => {
  it('with very many keys are read in one pass', () => {
    const keys = Array.from({ length: 10_000 }, (_, i) => `k${i}: 1`)
    expect(refusal(keys.join('\n'))).toHaveLength(10_001)
  })

  it('with as many syntax errors name the first ones', () => {
    expect(refusal('"'.repeat(50_000)).length).toBeLessThanOrEqual(10)
  })

  it('with long values quote a part of them', () => {
    const long = 'x'.repeat(500_000)
    for (const line of [`images: [UPPER${long}]`, `images: [1${'0'.repeat(500_000)}]`, `name: !${long} x`])
      for (const fault of refusal(after(line))) expect(fault.length).toBeLessThan(600)
    for (const text of [
      after(`${'k'.repeat(500_000)}: 1`),
      'x'.repeat(500_000),
      `a: *${'x'.repeat(500_000)}`,
    ])
      for (const line of refusal(text)) expect(line.length).toBeLessThan(300)
  })
})

it('any text is either a config or refused with a place', () => {
  const words =
    'configVersion: 1|images:|name|: |- |\n|  |[|]|{|}|,|"|\'|>|&a|*a|!!str |!x |---|...|%YAML 1.2|#|?|<<|\t|\r\n|1.30|true|~|é'
  const fragment = fc.constantFrom('|', ...words.split('|'))
  const text = fc.oneof(
    fc.array(fragment).map((parts) => parts.join('')),
    anyText(),
  )
  fc.assert(
    fc.property(text, (value) => {
      try {
        expect(parseConfig(Buffer.from(value), 'c').config.configVersion).toBe(1)
      } catch (error) {
        if (!(error instanceof AirgapError)) throw error
        expect(error.code).toBe('INVALID_CONFIG')
        for (const entry of error.problems.map((problem) => problem.entry))
          expect(entry).toMatch(/^c:\d+:\d+$/)
        if (error.problems.length === 0) expect(error.message).toMatch(/^c:\d+:\d+: /)
      }
    }),
    { numRuns: 300 },
  )
})
