import { isIPv4 } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseNoProxy } from '../../../src/registry/net/proxies.ts'

/** What the tables of Go's httpproxy tests say of the same cases. */
test.each([
  ['example.com', 'https://example.com', true],
  ['example.com', 'https://sub.example.com:5000', true],
  ['example.com', 'https://notexample.com', false],
  ['EXAMPLE.com', 'https://Sub.Example.COM', true],
  ['.example.com', 'https://example.com', false],
  ['.example.com', 'https://a.b.example.com', true],
  ['*.example.com', 'https://example.com', false],
  ['*.example.com', 'https://a.example.com', true],
  ['example.com:5000', 'https://example.com:5000', true],
  ['example.com:5000', 'https://example.com', false],
  ['example.com:443', 'https://example.com', true],
  ['example.com:80', 'http://example.com', true],
  ['.example.com:443', 'https://a.example.com', true],
  ['10.0.0.0/8', 'https://10.250.3.4:5000', true],
  ['10.0.0.0/8', 'https://11.0.0.1', false],
  ['10.1.2.3/8', 'https://10.250.3.4', true],
  ['0.0.0.0/0', 'https://8.8.8.8', true],
  ['0.0.0.0/0', 'https://dns.example', false],
  ['fd00::/8', 'https://[fd12:3456::1]:5000', true],
  ['fd00::/8', 'https://[fe12:3456::1]', false],
  ['::ffff:0:0/96', 'https://[fd00::1]', false],
  ['::/0', 'https://[fd00::1]', true],
  ['::/0', 'https://10.0.0.1', false],
  ['::/0', 'https://[::ffff:10.0.0.1]', false],
  ['10.0.0.1', 'https://10.0.0.1:5000', true],
  ['10.0.0.1', 'https://[::ffff:10.0.0.1]', true],
  ['10.0.0.1:5000', 'https://10.0.0.1:5000', true],
  ['10.0.0.1:5000', 'https://10.0.0.1', false],
  ['[fd00::1]:5000', 'https://[fd00::1]:5000', true],
  ['[fd00::1]:5000', 'https://[fd00::1]:5001', false],
  ['fd00::1', 'https://[fd00:0::1]:5001', true],
  ['.0.0.1', 'https://10.0.0.1', false],
  ['0.0.1', 'https://10.0.0.1', false],
  ['*', 'https://anything.example:5000', true],
  ['a.example, *', 'https://b.example', true],
  [' a.example ,  b.example ', 'https://b.example', true],
  ['a.example b.example\tc.example', 'https://c.example', true],
  ['bücher.example', 'https://bücher.example', true],
  ['bücher.example', 'https://sub.xn--bcher-kva.example', true],
  ['', 'https://a.example', false],
  [',,:80,.,*.,/8,10.0.0.0/33,10.0.0.0/,a/8,[,],fe80::1%eth0,%', 'https://a.example', false],
  [',,:80,.,*.,/8,10.0.0.0/33,10.0.0.0/,a/8,[,],fe80::1%eth0,%', 'https://10.0.0.0', false],
])('NO_PROXY=%s and %s: %s', (text, url, isDirect) => {
  expect(parseNoProxy(text)(new URL(url))).toBe(isDirect)
})

const label = fc.constantFrom('a', 'b', 'aa', 'x-1')
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'))
const ipv4 = fc.tuple(fc.nat(3), fc.nat(255), fc.constantFrom(0, 1, 128), fc.nat(255)).map((p) => p.join('.'))
const port = fc.constantFrom('', ':443', ':5000')

test('as a simple model has it, for names', () => {
  const entry = fc.tuple(fc.constantFrom('', '.', '*.'), name, port)
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 4 }), name, port, (entries, host, at) => {
      const text = entries.map((parts) => parts.join('')).join(',')
      const actual = at === '' ? ':443' : at
      const expected = entries.some(([prefix, wanted, where]) => {
        if (where !== '' && where !== actual) return false
        const labels = host.split('.')
        const tails = labels.map((_, i) => labels.slice(i).join('.'))
        return tails.slice(prefix === '' ? 0 : 1).includes(wanted)
      })
      expect(parseNoProxy(text)(new URL(`https://${host}${at}`))).toBe(expected)
    }),
  )
})

test('as a simple model has it, for networks', () => {
  const bits = (address: string): string =>
    address
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('')
  fc.assert(
    fc.property(ipv4, fc.nat(32), fc.oneof(ipv4, name), (network, length, host) => {
      const expected = isIPv4(host) && bits(host).startsWith(bits(network).slice(0, length))
      expect(parseNoProxy(`${network}/${length}`)(new URL(`https://${host}`))).toBe(expected)
    }),
  )
})

test('any text can be read', () => {
  const url = new URL('https://a.example')
  const part = fc.constantFrom(
    '.',
    '*',
    '/',
    ':',
    '[',
    ']',
    '%',
    ',',
    ' ',
    '\0',
    'ß',
    '\u{1F600}',
    '8',
    'a',
    'f::',
  )
  fc.assert(
    fc.property(fc.array(part, { maxLength: 9 }), (parts) => {
      expect(parseNoProxy(parts.join(''))(url)).toBeTypeOf('boolean')
    }),
  )
})
