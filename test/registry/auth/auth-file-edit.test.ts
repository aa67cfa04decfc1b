import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  authKeys,
  editFault,
  membersOf,
  removeEntries,
  setEntries,
} from '../../../src/registry/auth/auth-file-update.ts'

const entry = { auth: 'dTpw' }

test('a new file is laid out as Docker does', () => {
  const text = `{
\t"auths": {
\t\t"r.example": {
\t\t\t"auth": "dTpw"
\t\t}
\t}
}
`
  expect(setEntries('', ['r.example'], entry)).toBe(text)
  expect(setEntries(' \n', ['r.example'], entry)).toBe(text)
  expect(setEntries('{}', ['r.example'], entry)).toBe(text)
})

test('order, layout, numbers and unknown keys of a file stay', () => {
  const text = `{
  "10": 1e400, "2": [ 1,2 ],
  "auths": {
    "b.example": {"auth": "eDp5", "email": "x" },
    "a.example": {
      "auth": "b2xk"
    }
  },
  "__proto__": {"auths": 1},
  "credHelpers":{}
}`
  expect(setEntries(text, ['c.example'], entry)).toBe(
    text.replace(/"b2xk"\n    \}/, `"b2xk"\n    },\n    "c.example": {\n      "auth": "dTpw"\n    }`),
  )
  expect(setEntries(text, ['a.example'], entry)).toBe(text.replace('b2xk', 'dTpw'))
  expect(removeEntries(text, ['a.example'])).toBe(text.replace(/,\n    "a\.example[^}]*\}/, ''))
  expect(removeEntries(text, ['b.example'])).toBe(text.replace(/"b\.example.*\n    /, ''))
})

test.each([
  ['{"auths":null}', '{"auths":{"r":{"auth":"dTpw"}}}'],
  ['{"auths":{}}', '{"auths":{"r":{"auth":"dTpw"}}}'],
  ['{"a":1}', '{"a":1,"auths":{"r":{"auth":"dTpw"}}}'],
  ['{"auths":{"r":{"auth":"x","identitytoken":"y"}}}', '{"auths":{"r":{"auth":"dTpw"}}}'],
  ['{"auths":{"\\u0072":{}}}', '{"auths":{"\\u0072":{"auth":"dTpw"}}}'],
  ['{"x":"}\\\\","auths":{}}', '{"x":"}\\\\","auths":{"r":{"auth":"dTpw"}}}'],
  [
    '{\r\n "a": 1\r\n}\r\n',
    '{\r\n "a": 1,\r\n "auths": {\r\n  "r": {\r\n   "auth": "dTpw"\r\n  }\r\n }\r\n}\r\n',
  ],
])('%j becomes %j', (text, wanted) => {
  expect(setEntries(text, ['r'], entry)).toBe(wanted)
})

test('the last entry leaves an empty object', () => {
  expect(removeEntries(setEntries('', ['r'], entry), ['r'])).toBe('{\n\t"auths": {}\n}\n')
})

test('an entry that is given twice is replaced and removed as one', () => {
  const text = '{"auths":{"r":{"auth":"b2xk"},"s":{},"r":{"auth":"b2xk"}}}'
  expect(removeEntries(text, ['r'])).toBe('{"auths":{"s":{}}}')
  expect(setEntries(text, ['r'], entry)).not.toContain('b2xk')
})

test.each([
  ['{"auths":{},"auths":{}}', 'twice'],
  ['{"\\u0061uths":{},"auths":{}}', 'twice'],
  ['{"Auths":{}}', 'differs only in case'],
])('%s can be read in two ways', (text, words) => {
  expect(editFault(text)).toContain(words)
})

const spaces = fc.constantFrom('', ' ', '\n', '\r\n\t', '\n    ')

/** JSON text of a value with white space strewn in. */
const laidOut = (value: fc.Arbitrary<unknown>) =>
  fc.tuple(value, spaces, spaces).map(([given, before, after]) => {
    const write = (part: unknown): string => {
      if (Array.isArray(part)) return `[${before}${part.map(write).join(`${after},${before}`)}${after}]`
      if (typeof part !== 'object' || part === null) return JSON.stringify(part)
      const members = Object.entries(part).map(
        ([key, child]) => `${JSON.stringify(key)}${after}:${before}${write(child)}`,
      )
      return `{${before}${members.join(`${after},${before}`)}${after}}`
    }
    return before + write(given) + after
  })

test('members are found where JSON.parse finds them', () => {
  fc.assert(
    fc.property(laidOut(fc.dictionary(fc.string(), fc.jsonValue())), (text) => {
      const value = JSON.parse(text) as Record<string, unknown>
      const { members, open, close } = membersOf(text, 0)
      expect([text[open], text[close], text.slice(close + 1).trim()]).toEqual(['{', '}', ''])
      // As entries: a key "__proto__" is a key like any other.
      expect(members.length).toBe(Object.keys(value).length)
      expect(
        new Map(members.map(({ key, valueStart, end }) => [key, JSON.parse(text.slice(valueStart, end))])),
      ).toEqual(new Map(Object.entries(value)))
    }),
  )
})

const host = fc.oneof(
  fc.constantFrom(
    'a.example',
    'b.example:5000',
    'https://index.docker.io/v1/',
    '__proto__',
    '',
    'a"b\\',
    '12',
  ),
  fc.string(),
)
const file = laidOut(
  fc.record(
    {
      auths: fc.option(fc.dictionary(host, fc.record({ auth: fc.base64String() }))),
      credsStore: fc.string(),
      other: fc.jsonValue(),
      12: fc.jsonValue(),
    },
    { requiredKeys: [] },
  ),
)
const step = fc.record({ key: host, isLogin: fc.boolean() })

test('no sequence of logins and logouts changes anything else', () => {
  fc.assert(
    fc.property(file, fc.array(step, { maxLength: 6 }), (text, steps) => {
      const others = (now: string): unknown => {
        const touched = new Set(steps.map(({ key }) => key))
        const value = JSON.parse(now) as Record<string, object | null>
        const { auths, ...rest } = value
        return [Object.entries(rest), Object.entries(auths ?? {}).filter(([key]) => !touched.has(key))]
      }
      let edited = text
      const state = new Map<string, boolean>()
      for (const { key, isLogin } of steps) {
        edited = isLogin ? setEntries(edited, [key], entry) : removeEntries(edited, [key])
        state.set(key, isLogin)
      }
      expect(others(edited)).toEqual(others(text))
      const keys = authKeys(edited)
      expect(new Set(keys).size).toBe(keys.length)
      for (const [key, isThere] of state) expect(keys.includes(key)).toBe(isThere)
    }),
  )
})

test('what is set and removed again leaves the file as it was', () => {
  fc.assert(
    fc.property(file, (text) => {
      const key = 'r.example'
      const before = JSON.parse(text) as { auths?: Record<string, unknown> | null }
      fc.pre(Object.keys(before.auths ?? {}).length > 0 && !(key in (before.auths ?? {})))
      expect(removeEntries(setEntries(text, [key], entry), [key])).toBe(text)
    }),
  )
})
