import type { AirgapError } from '../../errors.ts'
import { redacted, escapeForeign } from '../../text.ts'
import { jsonLine } from './format.ts'
import type { GlobalOptions, LogFormat } from '../input/global-flags.ts'
import { formatError } from '../words/format-error.ts'
import { hintOf, worded } from '../words/hints.ts'
import type { LogLine } from './shapes/log-line.ts'
import { isTerminal, LiveLine, type Screen } from './terminal.ts'
import { fitted } from './wrap.ts'

/** A line without its time. There is one type for each kind of event, with its facts. */
export type LogEntry = LogLine extends infer L ? (L extends LogLine ? Omit<L, 'time'> : never) : never

/**
 * Writes everything that goes to standard error: as text for people, or as one JSON object per line
 * (`docs/schemas/log-line.schema.json`). Escapes text from outside, so pass it unescaped.
 */
export class Log {
  readonly #stream: NodeJS.WritableStream & Screen
  #live: LiveLine | undefined
  #options: GlobalOptions = { isQuiet: false, logFormat: 'text' }

  constructor(stream: NodeJS.WritableStream & Screen, options?: GlobalOptions) {
    this.#stream = stream
    if (options) this.#options = options
  }

  get format(): LogFormat {
    return this.#options.logFormat
  }

  get isQuiet(): boolean {
    return this.#options.isQuiet
  }

  /**
   * A line that is redrawn below everything else; undefined if this is not a terminal, or the line is not wanted.
   * @param text the text, with at most this many characters, each one column wide.
   */
  liveLine(text: (columns: number) => string): LiveLine | undefined {
    if (this.format !== 'text' || this.isQuiet || !isTerminal(this.#stream)) return undefined
    this.#live = new LiveLine(this.#stream, text)
    return this.#live
  }

  /** Sets the options of the command line. */
  configure(options: GlobalOptions): void {
    this.#options = options
  }

  /** Writes a remark; not with `--quiet`. */
  note(message: string): void {
    this.write({ level: 'info', event: 'note', message: redacted(message) })
  }

  /** Writes a warning; also with `--quiet`. */
  warning(message: string): void {
    this.write({ level: 'warning', event: 'warning', message: redacted(message) })
  }

  /** Writes why the command failed. */
  error(error: AirgapError): void {
    const { code, exitCode, message, cause } = error
    const hint = hintOf(error)
    const problems = worded(error)
    const stack = code === 'INTERNAL' && cause instanceof Error ? redacted(cause.stack ?? '') : undefined
    const entry: LogEntry = {
      level: 'error',
      event: 'error',
      message,
      code,
      exitCode,
      ...(hint === undefined ? {} : { hint }),
      ...(problems.length === 0 ? {} : { problems }),
      ...(stack === undefined ? {} : { stack }),
    }
    this.write(entry, formatError(error))
  }

  /**
   * Writes one entry.
   * @param text the entry for people, if it is more than the message. Text from outside in it must be escaped already.
   */
  write(entry: LogEntry, text?: string): void {
    if (this.isQuiet && entry.level === 'info') return
    this.#live?.erase()
    if (this.format === 'json') {
      this.#stream.write(jsonLine({ time: new Date().toISOString(), ...entry }))
    } else {
      const shown = text ?? `${PREFIXES[entry.level]}${escapeForeign(entry.message)}`
      // An error is already wrapped.
      this.#stream.write(`${entry.level === 'error' ? shown : fitted(shown, this.#stream)}\n`)
    }
  }
}

const PREFIXES = { info: '', warning: 'Warning: ', error: 'Error: ' }

/** Standard error of this process. */
export const log = new Log(process.stderr)
