import type { AirgapError } from '../../errors.ts'
import { redacted, escapeForeign } from '../../text.ts'
import { jsonLine } from './format.ts'
import type { GlobalOptions, LogFormat } from '../input/global-flags.ts'
import { formatError } from '../words/format-error.ts'
import { hintOf, problemsOf } from '../words/hints.ts'
import type { LogLine } from './shapes/log-line.ts'
import { isTerminal, LiveLine, type Screen } from './terminal.ts'
import { fitted } from './wrap.ts'

/** A line without its time; one type a kind of event, so that the facts fit it. */
export type LogEntry = LogLine extends infer L ? (L extends LogLine ? Omit<L, 'time'> : never) : never

/**
 * Everything that goes to standard error: as text for people, or as one JSON object a line
 * (`docs/schemas/log-line.schema.json`). Foreign text is escaped here; give it as it is.
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
   * A line below everything that is written here, drawn again and again; undefined where there is nobody to look at it.
   * @param text what stands in it, of at most so many characters, each one column wide.
   */
  liveLine(text: (columns: number) => string): LiveLine | undefined {
    if (this.format !== 'text' || this.isQuiet || !isTerminal(this.#stream)) return undefined
    this.#live = new LiveLine(this.#stream, text)
    return this.#live
  }

  /** Takes up what the command line says. */
  configure(options: GlobalOptions): void {
    this.#options = options
  }

  /** Something to know beside the result; not said under `--quiet`. */
  note(message: string): void {
    this.write({ level: 'info', event: 'note', message: redacted(message) })
  }

  /** Something that has to be known; said under `--quiet` too. */
  warning(message: string): void {
    this.write({ level: 'warning', event: 'warning', message: redacted(message) })
  }

  /** Why the command failed. */
  error(error: AirgapError): void {
    const { code, exitCode, message, cause } = error
    const hint = hintOf(error)
    const problems = problemsOf(error)
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
   * @param text the entry for people, where it is more than the message. Foreign text in it has to be escaped.
   */
  write(entry: LogEntry, text?: string): void {
    if (this.isQuiet && entry.level === 'info') return
    this.#live?.erase()
    if (this.format === 'json') {
      this.#stream.write(jsonLine({ time: new Date().toISOString(), ...entry }))
    } else {
      const shown = text ?? `${PREFIXES[entry.level]}${escapeForeign(entry.message)}`
      // An error has been laid out already.
      this.#stream.write(`${entry.level === 'error' ? shown : fitted(shown, this.#stream)}\n`)
    }
  }
}

const PREFIXES = { info: '', warning: 'Warning: ', error: 'Error: ' }

/** Standard error of this process. */
export const log = new Log(process.stderr)
