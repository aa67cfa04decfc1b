import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { secretArguments, splitCommandLine } from '../../src/trust/sign-command.ts'
import { errorOf } from './helpers.ts'

it.each<[string, string[]]>([
  ['sign', ['sign']],
  ['  /opt/sign   -a\t--b=c ', ['/opt/sign', '-a', '--b=c']],
  [`a 'b c' "d e" f'g 'h"i "j`, ['a', 'b c', 'd e', 'fg hi j']],
  [`a '' ""`, ['a', '', '']],
  [`a 'say "$HOME"' "it's"`, ['a', 'say "$HOME"', "it's"]],
  [
    `openssl dgst -sha256 -sign 'pkcs11:token=my%20token;object=k?pin-source=/p'`,
    ['openssl', 'dgst', '-sha256', '-sign', 'pkcs11:token=my%20token;object=k?pin-source=/p'],
  ],
  ['a b#c d~e f!g é', ['a', 'b#c', 'd~e', 'f!g', 'é']],
])('%s', (line, words) => {
  expect(splitCommandLine(line)).toEqual(words)
})

it.each<[string, RegExp, RegExp?]>([
  ['', /names no program/],
  [' \t ', /names no program/],
  [`'' a`, /names no program/],
  [`a 'b`, /a quote \('\) is not closed/],
  [`a "b`, /a quote \("\) is not closed/],
  ['sign | base64 -d', /not run by a shell, so \|/, /script/],
  ['sign > out', /not run by a shell, so >/],
  ['sign; rm x', /not run by a shell, so ;/],
  ['sign && true', /not run by a shell, so &/],
  ['sign --pin $PIN', /not run by a shell, so \$/, /single quotes/],
  ['sign "--pin=$PIN"', /\$ in double quotes/],
  ['sign `cat pin`', /not run by a shell, so `/],
  ['sign a\\ b', /not run by a shell, so \\/],
  ['sign *.pem', /not run by a shell, so \*/],
  ['~/bin/sign', /not run by a shell, so ~/],
  ['sign # now', /not run by a shell, so #/],
  ['sign {a,b}', /not run by a shell, so \{/],
  ['PIN=1 sign', /begins with a variable/, /before you run airgap/],
  ['a\nb', /line end/],
  ['a\0b', /control character/],
])('%j is refused', async (line, message, hint) => {
  const error = await errorOf(() => splitCommandLine(line))
  expect(error.code).toBe('USAGE')
  expect(error.message).toMatch(message)
  if (hint) expect(error.hint).toMatch(hint)
})

it('no refusal repeats what the line holds', async () => {
  for (const line of ['sign --pin 73570x "', 'sign --pin 73570x | y', "'' --pin 73570x"]) {
    const { message, hint } = await errorOf(() => splitCommandLine(line))
    expect(`${message}${hint}`).not.toContain('73570')
  }
})

const PLAIN = `a B 7 / - = : % . ' " '' é ^ @`.split(' ')
const BLANK = [' ', '  ', '\t', '"b c"']
const SPECIAL = '$ ` \\ | & ; < > ( ) * ? [ ] { } # ~ !'.split(' ')
const piece = fc.constantFrom(...PLAIN, ...BLANK, ...SPECIAL)

it.skipIf(process.platform === 'win32')(
  '[duty: sign-command] what is accepted means what it means to a shell',
  () => {
    const lines = new Map<string, string[]>()
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 7 }), (pieces) => {
        const line = `p ${pieces.join('')}`
        try {
          lines.set(line, splitCommandLine(line))
        } catch {
          // Refused: it may mean anything to a shell.
        }
      }),
      { numRuns: 4000 },
    )
    // One shell for all of them, that knows the words of each.
    const script = [...lines.keys()]
      .map((line) => `p() { printf '%s\\1' p "$@"; printf '\\2'; }; ${line}`)
      .join('\n')
    const { stdout, status } = spawnSync('/bin/sh', ['-f'], { input: script, encoding: 'utf8' })
    expect(status).toBe(0)
    const shells = stdout
      .split('\u0002')
      .slice(0, -1)
      .map((words) => words.split('\u0001').slice(0, -1))
    expect(lines.size).toBeGreaterThan(200)
    expect(shells).toEqual([...lines.values()])
  },
)

it('what may be secret among arguments is known by its form', () => {
  const given = 'x --pin 1111 --so-pin=2222 -passin pass:3333 -p 4444 --module m --token-label t'.split(' ')
  expect(secretArguments(given)).toEqual(['1111', '2222', 'pass:3333', '3333', '4444'])
  expect(secretArguments(['pkcs11:token=a;object=b?pin-value=5555&x=y', '--pin', 'env:PIN'])).toEqual([
    '5555',
    'env:PIN',
  ])
})
