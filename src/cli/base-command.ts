import { Command, Flags } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import { escapeForeign } from '../text.ts'
import { jsonText } from './output/format.ts'
import { globalOptions, LOG_FORMATS } from './input/global-flags.ts'
import { log } from './output/log.ts'
import { classify, reportFailure } from './words/report-error.ts'
import { styler, type Highlight } from './output/terminal.ts'

/** The exit code of a process that a second Ctrl-C has ended, as shells have it. */
const SIGNAL_EXIT = 130
const REPEAT_MS = 500

/**
 * What all commands share: results on standard output, everything else on standard error, `--json`, `--quiet`,
 * `--log-format`, errors with their exit codes, and a signal that Ctrl-C sets off.
 */
export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true

  static override baseFlags = {
    quiet: Flags.boolean({
      char: 'q',
      description: 'Print results, warnings and errors only',
      helpGroup: 'GLOBAL',
    }),
    'log-format': Flags.option({
      options: LOG_FORMATS,
      default: 'text',
      description: 'How to write what goes to standard error',
      helpGroup: 'GLOBAL',
    })(),
    json: Flags.boolean({ description: 'Print one JSON document, errors included', helpGroup: 'GLOBAL' }),
  }

  #abort: AbortController | undefined

  /**
   * Set off by Ctrl-C or a termination signal; a second one ends the process at once. Until a command asks for it,
   * signals do what they always do.
   */
  protected get signal(): AbortSignal {
    if (this.#abort) return this.#abort.signal
    const abort = new AbortController()
    this.#abort = abort
    let since = 0
    // Listeners that stay, to tell a second signal from the first.
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.on(name, () => {
        if (abort.signal.aborted) {
          // `timeout` and some shells send the same signal twice at once: that is still one.
          if (performance.now() - since > REPEAT_MS) process.exit(SIGNAL_EXIT)
          return
        }
        since = performance.now()
        abort.abort(
          new AirgapError('INTERRUPTED', `interrupted (${name})`, {
            hint: 'Nothing that is unfinished looks finished. Run the same command again.',
          }),
        )
      })
    }
    return abort.signal
  }

  /** A result for people, on standard output; nothing under `--json`. */
  protected print(text: string, highlight?: Highlight): void {
    if (this.jsonEnabled()) return
    // Escaped first: what is coloured is ours.
    const escaped = escapeForeign(text)
    process.stdout.write(`${highlight ? highlighted(escaped, highlight) : escaped}\n`)
  }

  /** What to type next, as the last line of a result for people. */
  protected printNext(command: string): void {
    this.print(`Next: ${command}`)
  }

  /** Something to know beside the result, on standard error. */
  protected note(text: string): void {
    log.note(text)
  }

  protected warning(message: string): void {
    log.warning(message)
  }

  protected override async init(): Promise<void> {
    log.configure(globalOptions(this.argv))
    if (log.format === 'json') {
      // Node's own warnings are lines like all others.
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

/** The verdict stands behind everything that comes out of a bundle. */
function highlighted(text: string, { words, style }: Highlight): string {
  const at = text.lastIndexOf(words)
  if (at < 0) return text
  const styled = styler(process.stdout)(style, words)
  return `${text.slice(0, at)}${styled}${text.slice(at + words.length)}`
}
