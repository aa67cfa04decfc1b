import { Writable } from 'node:stream'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Log } from '../../../src/cli/output/log.ts'
import { Progress } from '../../../src/cli/output/progress.ts'
import { columnsOf, isTerminal, styler } from '../../../src/cli/output/terminal.ts'

beforeEach(() => {
  for (const [name, value] of [
    ['CI', ''],
    ['NO_COLOR', ''],
    ['TERM', 'xterm'],
  ] as const)
    vi.stubEnv(name, value)
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
})

const escape = String.fromCharCode(27)
const TOKEN = new RegExp(`${escape}\\[[0-9;]*[A-Za-z]|[^]`, 'gu')

/**
 * Shows what is written as a terminal does, with all that is used of one: lines, the cursor's return, colours, and erasing
 * everything behind the cursor. Breaks what is longer than it is wide.
 */
class Terminal extends Writable {
  readonly isTTY = true
  /** What it says, which may be 0. */
  columns: number
  /** What is drawn in one go. */
  drawn: string[] = []
  #lines: string[] = ['']
  #row = 0
  #column = 0

  constructor(columns: number) {
    super({ decodeStrings: false })
    this.columns = columns
  }

  get width(): number {
    return this.columns || 80
  }

  get lines(): string[] {
    return this.#lines.map((line) => line.trimEnd()).filter((line) => line !== '')
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.drawn.push(chunk)
    for (const token of chunk.match(TOKEN) ?? []) this.#take(token)
    done()
  }

  #take(token: string): void {
    if (token === '\n') this.#down()
    else if (token === '\r') this.#column = 0
    else if (token === `${escape}[J`) this.#erase()
    else if (token.startsWith(escape)) expect(token).toMatch(/m$/)
    else {
      if (this.#column >= this.width) this.#down()
      const line = (this.#lines[this.#row] ?? '').padEnd(this.#column)
      this.#lines[this.#row] = line.slice(0, this.#column) + token + line.slice(this.#column + 1)
      this.#column += 1
    }
  }

  #down(): void {
    this.#row += 1
    this.#column = 0
    this.#lines[this.#row] ??= ''
  }

  #erase(): void {
    this.#lines = [...this.#lines.slice(0, this.#row), (this.#lines[this.#row] ?? '').slice(0, this.#column)]
  }
}

function drawing(columns: number): { screen: Terminal; log: Log; progress: Progress } {
  const screen = new Terminal(columns)
  const log = new Log(screen)
  const progress = new Progress(log)
  progress.onEvent({ type: 'phase', phase: 'fetch', items: 4, bytes: 100_000_000, images: 3 })
  return { screen, log, progress }
}

describe('the width of a terminal', () => {
  it('is never 0 and never nothing, and other streams have none', () => {
    for (const columns of [0, undefined, Number.NaN, -1] as number[])
      expect(columnsOf({ isTTY: true, columns })).toBe(80)
    for (const columns of [1, 2, 80, 500]) expect(columnsOf({ isTTY: true, columns })).toBe(columns)
    expect(columnsOf({ columns: 40 })).toBeUndefined()
  })
})

describe('the live line', () => {
  it.each([0, 1, 2, 3, 4, 10, 80])('on %i columns is one line, drawn so often as elsewhere', (columns) => {
    const { screen, progress } = drawing(columns)
    for (let i = 0; i < 20; i += 1) {
      vi.advanceTimersByTime(80)
      expect(screen.lines.length).toBeLessThanOrEqual(1)
      expect(screen.lines.join('').length).toBeLessThan(Math.max(screen.width, 2))
    }
    expect(screen.drawn.length).toBe(21)
    if (screen.width === 80) expect(screen.lines[0]).toMatch(/^\S Fetching {2}0\/3 images {2}0 B of 100 MB/)
    progress.stop()
    expect(screen.lines).toEqual([])
    vi.advanceTimersByTime(1000)
    expect(screen.drawn.length).toBe(22)
  })

  it('bears any sizes, one after the other', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(0, 1, 2, 3, 5, 80), { minLength: 1 }), (sizes) => {
        const { screen, progress } = drawing(80)
        for (const columns of sizes) {
          screen.columns = columns
          vi.advanceTimersByTime(160)
          expect(screen.lines.join('').length).toBeLessThan(Math.max(screen.width, 2))
        }
        expect(screen.drawn.length).toBe(1 + sizes.length * 2)
        progress.stop()
        expect(screen.lines).toEqual([])
      }),
    )
  })

  it('makes room for what is written, and is below it', () => {
    const { screen, log, progress } = drawing(60)
    log.warning('one')
    expect(screen.lines).toEqual(['Warning: one'])
    vi.advanceTimersByTime(80)
    log.note('two')
    vi.advanceTimersByTime(80)
    expect(screen.lines).toEqual(['Warning: one', 'two', expect.stringContaining('Fetching')])
    progress.stop()
    expect(screen.lines).toEqual(['Warning: one', 'two'])
  })
})

describe('a terminal', () => {
  it.each<[Record<string, string | undefined>, boolean, boolean]>([
    [{ CI: undefined, TERM: 'xterm' }, true, true],
    [{ CI: undefined, TERM: 'xterm' }, false, false],
    [{ CI: 'true', TERM: 'xterm' }, true, false],
    [{ CI: '1', TERM: 'xterm' }, true, false],
    [{ CI: '', TERM: 'xterm' }, true, true],
    [{ CI: 'false', TERM: 'xterm' }, true, true],
    [{ CI: undefined, TERM: 'dumb' }, true, false],
  ])('%j, TTY %s: live %s', (env, isTTY, expected) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
    expect(isTerminal({ isTTY })).toBe(expected)
  })
})

describe('colours', () => {
  const shown = (isTTY: boolean, env: Record<string, string>): string => {
    for (const name of ['NO_COLOR', 'CI', 'TERM']) vi.stubEnv(name, env[name] ?? '')
    return styler({ isTTY })('bold', 'x')
  }

  it('are for terminals that can and may show them', () => {
    expect(shown(true, { TERM: 'xterm' })).toContain('\u001b[1m')
    expect(shown(false, { TERM: 'xterm' })).toBe('x')
    expect(shown(true, { TERM: 'xterm', NO_COLOR: '1' })).toBe('x')
    expect(shown(true, { TERM: 'xterm', CI: 'true' })).toBe('x')
    expect(shown(true, { TERM: 'dumb' })).toBe('x')
  })
})
