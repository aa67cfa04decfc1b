import { styleText } from 'node:util'

/** What is asked of a stream that may be a terminal. */
export interface Screen {
  readonly isTTY?: boolean
  readonly columns?: number
}

/** A terminal that does not tell its width. */
const USUAL_COLUMNS = 80

/**
 * How many columns a terminal has, at least 1; undefined for a stream that is no terminal. Nobody else asks the stream
 * itself: serial consoles and pseudo-terminals without a size say 0, and any size can change while we run.
 */
export function columnsOf({ isTTY, columns }: Screen): number | undefined {
  if (!isTTY) return undefined
  return columns !== undefined && columns >= 1 ? columns : USUAL_COLUMNS
}

/** Whether somebody sits at a terminal that can do more than print lines; in CI nobody does. */
export function isTerminal({ isTTY }: Screen): boolean {
  const { CI, TERM } = process.env
  const isCi = CI !== undefined && !['', '0', 'false'].includes(CI)
  return isTTY === true && !isCi && TERM !== 'dumb'
}

type Style = Parameters<typeof styleText>[0]

/** Words of a text that stand out on a terminal. */
export interface Highlight {
  words: string
  style: Style
}

/** Colours for one stream; none where it is not a terminal, under NO_COLOR, or in CI. */
export function styler(stream: Screen): (style: Style, text: string) => string {
  const isColoured = isTerminal(stream) && !process.env.NO_COLOR
  return (style, text) => (isColoured ? styleText(style, text, { validateStream: false }) : text)
}

/** The cursor to the beginning of its line, and everything behind it erased. */
const ERASE = '\r\u001b[J'
const DOTS = { interval: 80, frames: ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] }
/** The text console's font lacks the dots. */
const STROKES = { interval: 130, frames: ['-', '\\', '|', '/'] }
/** The spinner and the blank behind it. */
const SPINNER_COLUMNS = 2
/** Some terminals wrap in the last column. */
const SPARE_COLUMNS = 1

/**
 * One line on a terminal that is drawn again and again in its place, with a spinner before it. It is never longer than
 * the terminal is wide at that moment, and the cursor is left at its beginning: so it is erased without counting lines,
 * also where the terminal has become narrower and has broken it in two. Nothing of the terminal is changed that would have
 * to be put back, however the process ends.
 */
export class LiveLine {
  readonly #screen: Screen & { write(text: string): unknown }
  readonly #text: (columns: number) => string
  readonly #spinner = process.env.TERM === 'linux' ? STROKES : DOTS
  #frame = 0
  #timer: NodeJS.Timeout | undefined

  /** @param text the line, of at most so many characters, each one column wide. */
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

  /** Takes the line away until it is drawn next; to be called before anything else is written to the terminal. */
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
