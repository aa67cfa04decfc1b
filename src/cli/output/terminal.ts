import { styleText } from 'node:util'

/** What we need to know about a stream that may be a terminal. */
export interface Screen {
  readonly isTTY?: boolean
  readonly columns?: number
}

/** Assumed for a terminal that does not tell its width. */
const USUAL_COLUMNS = 80

/**
 * How many columns a terminal has, at least 1; undefined for a stream that is not a terminal. Use this instead of the
 * stream's own `columns`: serial consoles and pseudo-terminals without a size say 0, and the size can change at any
 * time.
 */
export function columnsOf({ isTTY, columns }: Screen): number | undefined {
  if (!isTTY) return undefined
  return columns !== undefined && columns >= 1 ? columns : USUAL_COLUMNS
}

/** Whether this is a terminal that can do more than print lines; false in CI. */
export function isTerminal({ isTTY }: Screen): boolean {
  const { CI, TERM } = process.env
  const isCi = CI !== undefined && !['', '0', 'false'].includes(CI)
  return isTTY === true && !isCi && TERM !== 'dumb'
}

type Style = Parameters<typeof styleText>[0]

/** Words of a text to highlight on a terminal. */
export interface Highlight {
  words: string
  style: Style
}

/** Colours for one stream; none if it is not a terminal, with NO_COLOR, and in CI. */
export function styler(stream: Screen): (style: Style, text: string) => string {
  const isColoured = isTerminal(stream) && !process.env.NO_COLOR
  return (style, text) => (isColoured ? styleText(style, text, { validateStream: false }) : text)
}

/** Moves the cursor to the beginning of its line and erases everything after it. */
const ERASE = '\r\u001b[J'
const DOTS = { interval: 80, frames: ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] }
/** For the Linux text console, whose font lacks the dots. */
const STROKES = { interval: 130, frames: ['-', '\\', '|', '/'] }
/** The spinner and the space after it. */
const SPINNER_COLUMNS = 2
/** Some terminals wrap in the last column. */
const SPARE_COLUMNS = 1

/**
 * One line on a terminal that is redrawn in place, with a spinner before it. It is never wider than the terminal is at
 * that moment, and the cursor stays at its beginning. So it can be erased without counting lines, even if the terminal
 * became narrower and wrapped it. It changes no terminal state, so nothing must be restored, however the process ends.
 */
export class LiveLine {
  readonly #screen: Screen & { write(text: string): unknown }
  readonly #text: (columns: number) => string
  readonly #spinner = process.env.TERM === 'linux' ? STROKES : DOTS
  #frame = 0
  #timer: NodeJS.Timeout | undefined

  /** @param text the line, with at most this many characters, each one column wide. */
  constructor(screen: Screen & { write(text: string): unknown }, text: (columns: number) => string) {
    this.#screen = screen
    this.#text = text
  }

  start(): void {
    if (this.#timer) return
    this.#draw()
    this.#timer = setInterval(() => this.#draw(), this.#spinner.interval)
    this.#timer.unref()
  }

  /** Erases the line until it is next drawn. Call this before writing anything else to the terminal. */
  erase(): void {
    if (this.#timer) this.#screen.write(ERASE)
  }

  stop(): void {
    this.erase()
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #draw(): void {
    const { frames } = this.#spinner
    const room = (columnsOf(this.#screen) ?? USUAL_COLUMNS) - SPARE_COLUMNS
    const frame = (frames[this.#frame++ % frames.length] ?? '').slice(0, room)
    const text = this.#text(Math.max(0, room - SPINNER_COLUMNS))
    const line = [styler(this.#screen)('cyan', frame), text].filter((part) => part !== '').join(' ')
    this.#screen.write(`${ERASE}${line}\r`)
  }
}
