import { AirgapError } from '../../../src/errors.ts'

/** A cause that people meet, really brought about where that is possible. */
export interface Case {
  /** What is wrong. */
  name: string
  /** Fails with what the user gets to read. */
  provoke: () => Promise<unknown>
  /** In the message. */
  says: RegExp
  /** In the hint, each of them. */
  hints: RegExp[]
}

/** The error that `action` fails with. */
export async function errorOf(action: () => Promise<unknown>): Promise<AirgapError> {
  try {
    await action()
  } catch (error) {
    if (error instanceof AirgapError) return error
    throw error
  }
  throw new Error('expected a failure, and there was none')
}
