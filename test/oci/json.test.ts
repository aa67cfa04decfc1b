import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import {
  canonicalJson,
  checkKeyCase,
  compareBytes,
  isCanonicalJson,
  parseStrictJson,
} from '../../src/oci/json.ts'
import { anyText } from '../support/any-text.ts'

function refusal(text: string | Uint8Array): string {
  try {
    parseStrictJson(Buffer.from(text as string), 'doc')
    return 'accepted'
  } catch (error) {
    expect(error).toBeInstanceOf(AirgapError)
    expect((error as AirgapError).code).toBe('INVALID_CONTENT')
    return (error as AirgapError).message
  }
}

/** Values as JSON holds them, with texts that try the scanner: quotes, backslashes, brackets, digits. */
const text = fc.oneof(
  anyText(),
  fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', '[', ',', ':', '1', 'e', '\n', '\u2028', '😀') }),
)
/** Keys that are one escape are refused: the engine may read them wrongly. */
const key = text.filter((one) => one.length !== 1 || JSON.stringify(one).length === 3)
const number = fc.oneof(
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, min: -1e15, max: 1e15 }).map((value) => (Object.is(value, -0) ? 0 : value)),
)
const { value: anyValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    number,
    text,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(key, tie('value'), { maxKeys: 5 }),
  ),
}))

describe('strict JSON', () => {
  test('agrees with JSON.parse on every document without traps, in any spacing', () => {
    fc.assert(
      fc.property(anyValue, fc.constantFrom('', ' ', '\t', '\n  '), (value, space) => {
        const json = JSON.stringify(value, null, space)
        expect(parseStrictJson(Buffer.from(json), 'doc')).toEqual(JSON.parse(json))
      }),
    )
  })

  test.each([String.raw`{"":0,"\n":1}`, String.raw`{"\u004e":1}`, String.raw`[{"a":1,"b":{"c":0,"\"":1}}]`])(
    'refuses a key that is one escape, which V8 may read as a backslash: %s',
    (json) => {
      expect(() => parseStrictJson(Buffer.from(json), 'doc')).toThrow('is a single escape')
    },
  )

  test('refuses what JSON.parse refuses, with our own error', () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '"a"',
      '\\',
      '1',
      '-',
      'e',
      '.',
      'true',
      'null',
      ' ',
      'x',
    )
    fc.assert(
      fc.property(fc.string({ unit: piece }), (json) => {
        let isJson = true
        try {
          JSON.parse(json)
        } catch {
          isJson = false
        }
        if (!isJson) expect(refusal(json)).not.toBe('accepted')
      }),
      { numRuns: 2000 },
    )
  })

  test('[duty: one-json] refuses a key twice in one object, anywhere and however spelled', () => {
    fc.assert(
      fc.property(
        anyValue,
        text.filter((one) => one.length !== 1),
        anyValue,
        anyValue,
        fc.boolean(),
        (inside, key, first, second, isEscaped) => {
          const units = Array.from({ length: key.length }, (_, i) =>
            key.charCodeAt(i).toString(16).padStart(4, '0'),
          )
          const spelled = isEscaped ? `"${units.map((unit) => `\\u${unit}`).join('')}"` : JSON.stringify(key)
          const twice = `{${JSON.stringify(key)}:${JSON.stringify(first)},${spelled}:${JSON.stringify(second)}}`
          expect(refusal(`{"x":[${JSON.stringify(inside)},${twice}]}`)).toContain(
            'occurs twice in one object',
          )
        },
      ),
    )
  })

  test('lets the same key stand in two objects, and as a value', () => {
    expect(parseStrictJson(Buffer.from('[{"a":"a"},{"a":{"a":["a","a"]}}]'), 'doc')).toEqual([
      { a: 'a' },
      { a: { a: ['a', 'a'] } },
    ])
    expect(Object.keys(parseStrictJson(Buffer.from('{"__proto__":1}'), 'doc') as object)).toEqual([
      '__proto__',
    ])
  })

  test.each([
    ['9007199254740992', 'is beyond 2^53'],
    ['-9007199254740992', 'is beyond 2^53'],
    ['[1e400]', 'is beyond 2^53'],
    ['{"a":1e16}', 'is beyond 2^53'],
    ['123456789012345678901234567890', 'is beyond 2^53'],
    ['\ufeff{}', 'it is not JSON'],
    ['', 'it is not JSON'],
    ['{} {}', 'it is not JSON'],
    ['{"a":1,}', 'it is not JSON'],
    ['{"a":01}', 'it is not JSON'],
    ["{'a':1}", 'it is not JSON'],
    ['{"a":NaN}', 'it is not JSON'],
    ['{}\0', 'it is not JSON'],
    ['"\n"', 'it is not JSON'],
    ['<!DOCTYPE html><html>', 'it is an HTML page'],
    ['{"a":"\\ud800"}', 'half a surrogate pair'],
    ['{"\\udc00":1}', 'half a surrogate pair'],
    ['{"\\ud800":1,"\\ud801":1}', 'half a surrogate pair'],
  ])('refuses %j', (json, reason) => {
    expect(refusal(json)).toContain(reason)
  })

  test('takes the largest exact integers and whole surrogate pairs', () => {
    expect(
      parseStrictJson(Buffer.from('[9007199254740991,-9007199254740991,"\\ud83d\\ude00"]'), 'doc'),
    ).toEqual([Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, '😀'])
  })

  test.each([
    ['a continuation byte', [0x22, 0x80, 0x22]],
    ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22]],
    ['an encoded surrogate', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['Latin-1', [0x22, 0xe9, 0x22]],
  ])('refuses %s', (_, bytes) => {
    expect(refusal(Buffer.from(bytes))).toContain('it is not valid UTF-8')
  })

  const MIB = 1024 ** 2
  test.each([
    ['one long text', () => `"${'a'.repeat(8 * MIB)}"`, 'accepted'],
    ['one long text of escapes', () => `"${'\\n'.repeat(4 * MIB)}"`, 'accepted'],
    ['one long text of backslashes', () => `"${'\\\\'.repeat(4 * MIB)}"`, 'accepted'],
    ['one long text of quotes', () => `"${'\\"'.repeat(4 * MIB)}"`, 'accepted'],
    ['one long key', () => `{"${'k'.repeat(8 * MIB)}":1}`, 'accepted'],
    ['a text without end', () => `"${'\\"'.repeat(4 * MIB)}`, 'it is not JSON'],
    ['one long number', () => '1'.repeat(8 * MIB), 'is beyond 2^53'],
    ['much white space', () => `${' '.repeat(8 * MIB)}{}`, 'accepted'],
    ['64 levels', () => '['.repeat(64) + ']'.repeat(64), 'accepted'],
    ['65 levels', () => '['.repeat(65) + ']'.repeat(65), 'nested deeper than 64 levels'],
    ['65 levels of objects', () => '{"a":'.repeat(65) + '1' + '}'.repeat(65), 'nested deeper than 64 levels'],
    ['millions of levels', () => '['.repeat(4 * MIB) + ']'.repeat(4 * MIB), 'nested deeper than 64 levels'],
    ['millions of levels without end', () => '{"a":'.repeat(4 * MIB), 'nested deeper than 64 levels'],
    ['millions of values', () => `[${'{},'.repeat(4 * MIB)}{}]`, 'more than 2000000 values'],
  ])('%s: no crash', (_, make, expected) => {
    const outcome = refusal(make())
    expect(outcome.length).toBeLessThan(500)
    expect(outcome).toContain(expected)
  })

  test('a duplicate of a very long key is refused in few words', () => {
    const key = `"${'k'.repeat(MIB)}"`
    const reason = refusal(`{${key}:1,${key}:2}`)
    expect(reason).toContain('occurs twice')
    expect(reason.length).toBeLessThan(500)
  })
})

describe('keys that differ from a known one in case alone', () => {
  test.each(['Layers', 'LAYERS', 'layerS', 'layer\u017f'])('%s is refused', (key) => {
    expect(() => checkKeyCase({ [key]: 1 }, ['layers', 'config'], 'doc')).toThrow(
      'differs only in case from "layers"',
    )
  })

  test('the Kelvin sign is a k to Go', () => {
    expect(() => checkKeyCase({ '\u212aind': 1 }, ['kind'], 'doc')).toThrow('differs only in case')
  })

  test('other keys pass', () => {
    expect(() => checkKeyCase({ layers: 1, layer: 2, extra: 3 }, ['layers'], 'doc')).not.toThrow()
  })
})

test('canonical JSON has its keys in the order of their bytes, numbers and what is beyond 16 bits, too', () => {
  const value = { 10: 1, 9: 2, a: [], b: {}, '\uffff': undefined, '😀': 1, '\ue000': [{ c: null }] }
  expect(canonicalJson(value).toString()).toBe(
    '{\n  "10": 1,\n  "9": 2,\n  "a": [],\n  "b": {},\n  "\ue000": [\n    {\n      "c": null\n    }\n  ],\n  "😀": 1\n}\n',
  )
  fc.assert(
    fc.property(anyText(), anyText(), (a, b) => {
      const bytes = Buffer.compare(Buffer.from(a), Buffer.from(b))
      expect(Math.sign(compareBytes(a, b))).toBe(bytes)
    }),
  )
})

test('canonical JSON is known again, and what differs from it in a byte or goes on is not', () => {
  fc.assert(
    fc.property(fc.dictionary(key, anyValue), fc.nat(), (value, at) => {
      const bytes = canonicalJson(value)
      expect(isCanonicalJson(value, bytes)).toBe(true)
      expect(isCanonicalJson(value, Buffer.concat([bytes, Buffer.from('\n')]))).toBe(false)
      expect(isCanonicalJson(value, bytes.subarray(0, -1))).toBe(false)
      const other = Buffer.from(bytes)
      other[at % other.length]! ^= 1
      expect(isCanonicalJson(value, other)).toBe(false)
    }),
  )
})

test('canonical JSON is the same for every order of keys, and reads back', () => {
  fc.assert(
    fc.property(fc.dictionary(key, anyValue), (value) => {
      const reversed = Object.fromEntries(Object.entries(value).toReversed())
      expect(canonicalJson(reversed)).toEqual(canonicalJson(value))
      expect(parseStrictJson(canonicalJson(value), 'doc')).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
})
