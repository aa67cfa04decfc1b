/** A piece of memory that threads share: filled here, hashed there, written from it. */
export interface Block {
  readonly memory: SharedArrayBuffer
  readonly bytes: Uint8Array
}

/** Large enough that a block is worth a message to a thread and a system call. Bytes. */
export const BLOCK_SIZE = 1024 * 1024

/** Blocks that are kept to be used again. */
export class BlockPool {
  readonly #free: Block[] = []

  take(): Block {
    const known = this.#free.pop()
    if (known) return known
    const memory = new SharedArrayBuffer(BLOCK_SIZE)
    return { memory, bytes: new Uint8Array(memory) }
  }

  /** Gives a block back that nobody reads or writes any more. */
  give(block: Block): void {
    this.#free.push(block)
  }
}
