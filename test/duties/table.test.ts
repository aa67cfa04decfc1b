import { existsSync, globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const PAGE = join(ROOT, 'docs/security.md')

interface Row {
  duty: string
  cells: string[]
  /** Absolute. */
  files: string[]
}

const rows: Row[] = readFileSync(PAGE, 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => {
    const cells = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim())
    const files = [...(cells[4] ?? '').matchAll(/\]\(([^)]+)\)/g)].map(([, file]) =>
      resolve(ROOT, 'docs', file!),
    )
    return { duty: cells[0]!.replaceAll('`', ''), cells, files }
  })

/** Duties in the titles of a file's tests: the first string of a call. */
function dutiesIn(file: string): string[] {
  return [
    ...readFileSync(file, 'utf8').matchAll(/(?:test|it|describe|\))\s*\(\s*['"`]\[duty: ([a-z-]+)\] \S/g),
  ].map(([, duty]) => duty!)
}

test('the table has every column, and each duty once', () => {
  expect(rows.length).toBeGreaterThan(15)
  for (const { cells } of rows) expect(cells.filter(Boolean)).toHaveLength(5)
  expect(new Set(rows.map(({ duty }) => duty)).size).toBe(rows.length)
})

test.each(rows)('$duty: each file named has a test of it', ({ duty, files }) => {
  expect(files.length).toBeGreaterThan(0)
  for (const file of files) {
    expect(existsSync(file), file).toBe(true)
    expect(dutiesIn(file), file).toContain(duty)
  }
})

test('every test of a duty is named in the table', () => {
  const named = rows.flatMap(({ duty, files }) => files.map((file) => `${duty} in ${file}`))
  const own = import.meta.filename
  const found = globSync('test/**/*.test.ts', { cwd: ROOT })
    .map((file) => join(ROOT, file))
    .filter((file) => file !== own)
    .flatMap((file) => dutiesIn(file).map((duty) => `${duty} in ${file}`))
  expect([...new Set(found)].toSorted()).toEqual(named.toSorted())
})
