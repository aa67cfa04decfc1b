import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { AirgapError } from '../errors.ts'
import { log } from './log.ts'

/** Whether somebody sits there who can be asked; where standard error is for a program, nobody does. */
export function canPrompt(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY && log.format === 'text'
}

/**
 * Asks for a password without showing it.
 * @throws AirgapError `INTERRUPTED` on Ctrl-C or the end of input.
 */
export async function promptPassword(question: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true })
  process.stderr.write(question)
  try {
    return await new Promise<string>((resolve, reject) => {
      const interrupted = (): void => reject(new AirgapError('INTERRUPTED', 'no password was given'))
      lines.once('line', resolve)
      lines.once('SIGINT', interrupted)
      lines.once('close', interrupted)
    })
  } finally {
    lines.close()
    process.stderr.write('\n')
  }
}
