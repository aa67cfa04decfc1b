import type { Clock } from './clock.ts'

/** The least that a peer has to send, bytes a second. With six transfers at a time, a line of 1 KB/s is fast enough. */
const LEAST_RATE = 128
/** The same, where the content can be had elsewhere, too. */
export const LEAST_RATE_AMONG_OTHERS = 16 * 1024

/** A peer that sends too little to wait for. */
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
  /** The reader gets the error. */
  destroy(error: Error): unknown
}

export interface Patience {
  clock: Clock
  /** The time in which the minimum has to arrive. Milliseconds. */
  withinMs: number
  /** {@link LEAST_RATE} by default. */
  leastRate?: number | undefined
}

/**
 * Passes on a body's bytes, and fails where they come too slowly. Only the time spent waiting for the peer counts, not
 * the time in which bytes are written or held back by our own limit.
 */
export async function* notTooSlow(body: SlowBody, patience: Patience): AsyncGenerator<Uint8Array> {
  const { clock, withinMs, leastRate = LEAST_RATE } = patience
  const least = (leastRate * withinMs) / 1000
  let bytes = 0
  let waitedMs = 0
  const judge = (): void => {
    // undici reports a peer that sends nothing.
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
