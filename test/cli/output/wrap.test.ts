import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { definitions, fitted, wrap, wrapCommand } from '../../../src/cli/output/wrap.ts'
import { nearest } from '../../../src/nearest.ts'

const word = fc.stringMatching(/^[a-z0-9=:/.-]{1,30}$/)
const text = fc.array(word, { minLength: 1, maxLength: 40 }).map((words) => words.join(' '))
const width = fc.integer({ min: 20, max: 100 })

describe('wrapped text', () => {
  it('keeps every word whole and in its place, and no line is longer than has to be', () => {
    fc.assert(
      fc.property(text, width, (given, columns) => {
        const lines = wrap(given, columns)
        expect(lines.join(' ')).toBe(given)
        for (const line of lines)
          expect(line.length <= columns || !line.includes(' ') || line.endsWith(' -')).toBe(true)
      }),
    )
  })

  it('keeps paragraphs, and what stands in backticks or belongs to -o', () => {
    expect(wrap('one two\nthree', 20)).toEqual(['one two', 'three'])
    expect(wrap('it says (`airgap pack --lock`) there', 20)).toEqual([
      'it says',
      '(`airgap pack --lock`)',
      'there',
    ])
    expect(wrap('written to where -o - says', 18)).toEqual(['written to where', '-o - says'])
    expect(wrap('', 20)).toEqual([''])
  })

  it('gives back a command when its lines are put together as a shell does', () => {
    fc.assert(
      fc.property(text, width, (command, columns) => {
        const joined = wrapCommand(command, 4, columns)
          .join('\n')
          .replaceAll(/ \\\n +/g, ' ')
          .trimStart()
        expect(joined).toBe(command)
      }),
    )
  })

  it('keeps a flag beside its value, and a quoted word whole', () => {
    expect(wrapCommand(`airgap pack nginx -o x.tar | ssh host "cat > x.tar"`, 0, 30)).toEqual([
      'airgap pack nginx -o x.tar \\',
      '    | ssh host "cat > x.tar"',
    ])
  })

  it('sets terms beside their meaning, and long ones above it', () => {
    expect(
      definitions(
        [
          ['-q', 'few words'],
          ['--very-long-flag VALUE', 'many more words'],
        ],
        { indent: 2, width: 20, widest: 10 },
      ),
    ).toEqual(['  -q  few words', '  --very-long-flag VALUE', '      many more', '      words'])
  })
})

describe('the nearest', () => {
  const names = ['list', 'resolve', 'pack', 'push', 'verify', 'platform', 'plain-http']

  it('to a name is that name', () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), (name) => {
        expect(nearest(name, names)).toBe(name)
      }),
    )
  })

  it('bears one mistake in any name', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.nat(),
        fc.constantFrom('swap', 'drop', 'double'),
        (name, at, how) => {
          const i = at % (name.length - 1)
          const [a = '', b = ''] = [name[i], name[i + 1]]
          const middle = { swap: b + a, drop: b, double: a + a + b }[how]
          expect(nearest(name.slice(0, i) + middle + name.slice(i + 2), names)).toBe(name)
        },
      ),
    )
  })

  it('is nothing where nothing is near, and costs nothing for a long word', () => {
    expect(nearest('frobnicate', names)).toBeUndefined()
    expect(nearest('', names)).toBeUndefined()
    expect(nearest('x'.repeat(100_000), names)).toBeUndefined()
  })
})

describe('a message', () => {
  const message = 'one two three four five six seven eight nine ten `airgap verify --key airgap.pub` end'

  it('is broken between words on a terminal, and is one line everywhere else', () => {
    expect(fitted(message, { isTTY: false, columns: 40 })).toBe(message)
    expect(fitted(message, {})).toBe(message)
    expect(fitted(message, { isTTY: true, columns: 200 })).toBe(message)
    expect(fitted(message, { isTTY: true, columns: 0 })).toBe(fitted(message, { isTTY: true, columns: 80 }))
    expect(fitted(message, { isTTY: true, columns: 40 }, 4)).toBe(
      'one two three four five six seven\n    eight nine ten\n    `airgap verify --key airgap.pub` end',
    )
  })

  it('keeps what is laid out, and lines of their own', () => {
    const laidOut = `a\n    ${'x '.repeat(30)}`
    expect(fitted(laidOut, { isTTY: true, columns: 40 })).toBe(laidOut)
  })
})
