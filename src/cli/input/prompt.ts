import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'
import { AirgapError } from '../../errors.ts'
import { log } from '../output/log.ts'

/** Whether the user can be asked: not if standard error is JSON for a program. */
export function canPrompt(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY && log.format === 'text'
}

/** Questions on the terminal, one after the other. A line typed ahead answers the next question. */
export class Prompt implements Disposable {
  readonly #lines: Interface
  readonly #screen: NodeJS.WritableStream
  readonly #answers: string[] = []
  #isShown = false
  #isEnded = false
  #wake = (): void => {}

  constructor(input: NodeJS.ReadableStream = process.stdin, screen: NodeJS.WritableStream = process.stderr) {
    this.#screen = screen
    const output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        if (this.#isShown) screen.write(chunk)
        done()
      },
    })
    this.#lines = createInterface({ input, output, terminal: true, historySize: 0 })
    this.#lines.on('line', (line) => {
      this.#answers.push(line)
      // The next line may be a password, typed ahead.
      this.#isShown = false
      this.#wake()
    })
    for (const end of ['SIGINT', 'close'] as const) {
      this.#lines.once(end, () => {
        this.#isEnded = true
        this.#wake()
      })
    }
  }

  /**
   * @param isSecret does not show what is typed.
   * @throws AirgapError `INTERRUPTED` on Ctrl-C or the end of input.
   */
  async ask(question: string, { isSecret }: { isSecret: boolean }): Promise<string> {
    this.#isShown = !isSecret
    if (isSecret) {
      this.#screen.write(question)
    } else {
      this.#lines.setPrompt(question)
      this.#lines.prompt()
    }
    while (this.#answers.length === 0 && !this.#isEnded) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const answer = this.#answers.shift()
    // A shown answer ends its own line.
    if (isSecret || answer === undefined) this.#screen.write('\n')
    if (answer === undefined) throw new AirgapError('INTERRUPTED', 'no answer was given')
    return answer
  }

  /** Restores the terminal. */
  [Symbol.dispose](): void {
    this.#isShown = false
    this.#lines.close()
  }
}

/**
 * Asks for a password without showing it.
 * @throws AirgapError `INTERRUPTED` on Ctrl-C or the end of input.
 */
export async function promptPassword(question: string): Promise<string> {
  using prompt = new Prompt()
  return await prompt.ask(question, { isSecret: true })
}
