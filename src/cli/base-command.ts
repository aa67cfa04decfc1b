import { Command, Flags } from '@oclif/core'
import { AirgapError } from '../errors.ts'
import { escapeForeign } from './format.ts'
import { classify, errorDocument, formatError } from './report-error.ts'

/** The exit code of a process that a second Ctrl-C has ended, as shells have it. */
const SIGNAL_EXIT = 130

/**
 * What all commands share: results on standard output, everything else on standard error, `--json`, `--quiet`,
 * errors with their exit codes, and a signal that Ctrl-C sets off.
 */
export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true

  static override baseFlags = {
    quiet: Flags.boolean({ char: 'q', description: 'Print results and errors only', helpGroup: 'GLOBAL' }),
  }

  readonly #abort = new AbortController()

  /** Set off by Ctrl-C or a termination signal; a second one ends the process at once. */
  protected get signal(): AbortSignal {
    return this.#abort.signal
  }

  protected override async init(): Promise<void> {
    await super.init()
    // Listeners that stay: the terminal's spinner would end the process if it found none but its own.
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.on(name, () => {
        if (this.#abort.signal.aborted) process.exit(SIGNAL_EXIT)
        this.#abort.abort(
          new AirgapError('INTERRUPTED', `interrupted (${name})`, {
            hint: 'Nothing half-done was left. Run the same command again.',
          }),
        )
      })
    }
  }

  /** A result for people, on standard output; nothing under `--json`. */
  protected print(text: string): void {
    if (!this.jsonEnabled()) process.stdout.write(`${escapeForeign(text)}\n`)
  }

  /** Something to know beside the result, on standard error. */
  protected note(text: string): void {
    if (!this.argv.includes('--quiet') && !this.argv.includes('-q')) process.stderr.write(`${text}\n`)
  }

  protected warning(message: string): void {
    process.stderr.write(`Warning: ${escapeForeign(message)}\n`)
  }

  protected override async catch(thrown: unknown): Promise<void> {
    const reason = this.signal.aborted && !(thrown instanceof AirgapError) ? this.signal.reason : thrown
    const { error, exitCode } = classify(reason)
    if (this.jsonEnabled()) process.stdout.write(`${JSON.stringify(errorDocument(error), null, 2)}\n`)
    else process.stderr.write(`${formatError(error)}\n`)
    process.exitCode = exitCode
  }

  protected override logJson(json: unknown): void {
    process.stdout.write(`${JSON.stringify(json, null, 2)}\n`)
  }
}
