import type { Clock } from './clock.ts'

/**
 * The least that a peer has to send while it is waited for, bytes a second: with six transfers at a time, a line of 1 KB/s
 * is enough.
 */
const LEAST_RATE = 128
/** The same where what is wanted can be had elsewhere, too. */
export const LEAST_RATE_AMONG_OTHERS = 16 * 1024

/** A peer that sends, but so little that it is not waited for. */
export class SlowPeerFault extends Error {
  readonly bytes: number
  readonly waitedMs: number

  constructor(bytes: number, waitedMs: number) {
    super(`${bytes} bytes came within ${waitedMs} ms`)
    this.bytes = bytes
    this.waitedMs = waitedMs
  }
}

/** An answer's body. */
export interface SlowBody extends AsyncIterable<Uint8Array> {
  /** Whoever reads it gets the error. */
  destroy(error: Error): unknown
}

export interface Patience {
  clock: Clock
  /** The time in which the least has to come. Milliseconds. */
  withinMs: number
  /** {@link LEAST_RATE} where left out. */
  leastRate?: number | undefined
}

/**
 * Passes on what comes, as long as it is not too little. Only the time counts in which somebody waits for the peer: not
 * the one in which what has come is written, or held back by a limit of our own.
 */
export async function* notTooSlow(body: SlowBody, patience: Patience): AsyncGenerator<Uint8Array> {
  const { clock, withinMs, leastRate = LEAST_RATE } = patience
  const least = (leastRate * withinMs) / 1000
  let bytes = 0
  let waitedMs = 0
  const judge = (): void => {
    // Of a peer that is silent, undici says so.
    if (bytes > 0 && bytes < least) body.destroy(new SlowPeerFault(bytes, withinMs))
  }
  const iterator = body[Symbol.asyncIterator]()
  try {
    for (;;) {
      const since = clock.now()
      const cancel = clock.after(withinMs - waitedMs, judge)
      const next = await iterator.next().finally(cancel)
      if (next.done === true) return
      bytes += next.value.length
      waitedMs += clock.now() - since
      if (waitedMs >= withinMs) bytes = waitedMs = 0
      yield next.value
    }
  } finally {
    await iterator.return?.()
  }
}
