import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** The rows of the table of attacks in docs/verifying.md. */
const rows = readFileSync(join(ROOT, 'docs/verifying.md'), 'utf8')
  .split('\n## Attacks\n')[1]!
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
const named = rows.map(([attack = '']) => attack.replaceAll('`', ''))

/** Attacks in the titles of tests: the tag within a string of one line, wherever in a title it stands. */
const tried = globSync('test/**/*.test.ts', { cwd: ROOT })
  .map((file) => join(ROOT, file))
  .filter((file) => file !== import.meta.filename)
  .flatMap((file) => readFileSync(file, 'utf8').split('\n'))
  .filter((line) => !/^\s*(?:\/\/|\/?\*)/.test(line))
  .flatMap((line) => [...line.matchAll(/['"`](?:[^'"`]*)\[attack: ([a-z-]+)\]/g)].map(([, id = '']) => id))

test('the table of attacks has every column, and each attack once', () => {
  expect(rows.length).toBeGreaterThan(15)
  for (const cells of rows) expect(cells.filter(Boolean)).toHaveLength(3)
  expect(new Set(named).size).toBe(named.length)
})

test.each(named)('%s is tried', (attack) => {
  expect(tried).toContain(attack)
})

test('every attack that is tried stands in the table', () => {
  expect([...new Set(tried)].filter((attack) => !named.includes(attack))).toEqual([])
})
