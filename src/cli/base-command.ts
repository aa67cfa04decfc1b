import { Command, Flags } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import { escapeForeign } from '../text.ts'
import { jsonText } from './output/format.ts'
import { globalOptions, LOG_FORMATS } from './input/global-flags.ts'
import { log } from './output/log.ts'
import { classify, reportFailure } from './words/report-error.ts'
import { styler, type Highlight } from './output/terminal.ts'

/** Exit code after a second Ctrl-C, as in shells. */
const SIGNAL_EXIT = 130
const REPEAT_MS = 500

/**
 * What all commands share: results on standard output, everything else on standard error, `--json`, `--quiet`,
 * `--log-format`, errors with their exit codes, and a signal that aborts on Ctrl-C.
 */
export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true

  static override baseFlags = {
    quiet: Flags.boolean({
      char: 'q',
      description: 'Print only results, warnings and errors',
      helpGroup: 'GLOBAL',
    }),
    'log-format': Flags.option({
      options: LOG_FORMATS,
      default: 'text',
      description: 'Format of standard error',
      helpGroup: 'GLOBAL',
    })(),
    json: Flags.boolean({
      description: 'Print the result, or the error, as one JSON document',
      helpGroup: 'GLOBAL',
    }),
  }

  #abort: AbortController | undefined

  /**
   * Aborts on SIGINT (Ctrl-C) or SIGTERM; a second signal ends the process at once. Before a command first reads this,
   * signals act as usual.
   */
  protected get signal(): AbortSignal {
    if (this.#abort) return this.#abort.signal
    const abort = new AbortController()
    this.#abort = abort
    let since = 0
    // Permanent listeners, because the second signal is handled too.
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.on(name, () => {
        if (abort.signal.aborted) {
          // `timeout` and some shells send the same signal twice at once: that counts as one.
          if (performance.now() - since > REPEAT_MS) process.exit(SIGNAL_EXIT)
          return
        }
        since = performance.now()
        abort.abort(
          new AirgapError('INTERRUPTED', `interrupted (${name})`, {
            hint: 'Run the same command again.',
          }),
        )
      })
    }
    return abort.signal
  }

  /** Prints a result for people on standard output; nothing with `--json`. */
  protected print(text: string, highlight?: Highlight): void {
    if (this.jsonEnabled()) return
    // Escaped before colouring, because colours are escape sequences too.
    const escaped = escapeForeign(text)
    process.stdout.write(`${highlight ? highlighted(escaped, highlight) : escaped}\n`)
  }

  /** Prints the command to run next, as the last line of a result for people. */
  protected printNext(command: string): void {
    this.print(`Next: ${command}`)
  }

  /** Prints a remark on standard error. */
  protected note(text: string): void {
    log.note(text)
  }

  protected warning(message: string): void {
    log.warning(message)
  }

  protected override async init(): Promise<void> {
    log.configure(globalOptions(this.argv))
    if (log.format === 'json') {
      // Node's own warnings must be JSON lines too.
      process.removeAllListeners('warning')
      process.on('warning', ({ message }) => log.warning(message))
    }
    await super.init()
  }

  protected override async catch(thrown: unknown): Promise<void> {
    const called = this.#abort?.signal
    const reason = called?.aborted && !(thrown instanceof AirgapError) ? called.reason : thrown
    process.exitCode = reportFailure(classify(reason, this.id), { json: this.jsonEnabled() })
  }

  protected override logJson(json: unknown): void {
    process.stdout.write(jsonText(json))
  }
}

/** Styles the last occurrence of the words: the verdict comes after all text from a bundle. */
function highlighted(text: string, { words, style }: Highlight): string {
  const at = text.lastIndexOf(words)
  if (at < 0) return text
  const styled = styler(process.stdout)(style, words)
  return `${text.slice(0, at)}${styled}${text.slice(at + words.length)}`
}
