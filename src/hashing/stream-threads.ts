import { availableParallelism } from 'node:os'
import type { Worker } from 'node:worker_threads'
import { AirgapError, messageOf } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { startThread } from '../threads.ts'
import { createHash } from 'node:crypto'

/** SHA-256 over a sequence of blocks. */
export interface StreamHash {
  /** Adds the first `length` bytes of a block, which must not change until the promise settles. */
  update(block: Block, length: number): Promise<void>
  /** The digest of everything added. Nothing can be added afterwards. */
  digest(): Promise<Digest>
  /** Abandons the hash. Harmless after {@link digest}. */
  drop(): void
}

/** Hashes in the calling thread: for small content. */
export class LocalHash implements StreamHash {
  readonly #hash = createHash('sha256')

  async update(block: Block, length: number): Promise<void> {
    this.#hash.update(block.bytes.subarray(0, length))
  }

  async digest(): Promise<Digest> {
    return `sha256:${this.#hash.digest('hex')}`
  }

  drop(): void {}
}

/** A piece of memory that threads share. One thread fills it and writes it to disk, another hashes it. */
export interface Block {
  readonly memory: SharedArrayBuffer
  readonly bytes: Uint8Array
}

/** Bytes: large enough that the message to the thread and the system call hardly count. */
export const BLOCK_SIZE = 1024 * 1024

/** Keeps blocks for reuse. */
export class BlockPool {
  readonly #free: Block[] = []

  take(): Block {
    const known = this.#free.pop()
    if (known) return known
    const memory = new SharedArrayBuffer(BLOCK_SIZE)
    return { memory, bytes: new Uint8Array(memory) }
  }

  /** Returns a block that nobody reads or writes any more. */
  give(block: Block): void {
    this.#free.push(block)
  }
}

export type StreamRequest =
  | { type: 'update'; stream: number; memory: SharedArrayBuffer; length: number }
  | { type: 'digest'; stream: number }
  | { type: 'drop'; stream: number }

/** One for each `update` and `digest`, in the order of the requests. */
export interface StreamReply {
  stream: number
  digest?: Digest
}

/** Below this many bytes, another thread does not help. */
const WORTH_A_THREAD = 4 * 1024 * 1024
/** More hashing threads do not help: a single thread receives. */
const MOST_THREADS = 4

/** Threads that hash downloads, so that receiving and hashing run in parallel. */
export class HashThreads {
  readonly #threads: HashThread[] = []
  readonly #most: number

  /** @param most the most threads at a time; they are started when needed. */
  constructor(most = Math.min(MOST_THREADS, Math.max(1, availableParallelism() - 1))) {
    this.#most = most
  }

  /** @param size expected bytes; small content is hashed in the calling thread. */
  open(size: number): StreamHash {
    if (size < WORTH_A_THREAD) return new LocalHash()
    const [idle] = this.#threads.toSorted((a, b) => a.streams - b.streams)
    if (idle && (idle.streams === 0 || this.#threads.length >= this.#most)) return idle.open()
    const thread = new HashThread()
    this.#threads.push(thread)
    return thread.open()
  }

  /** Terminates the threads. Hashes that are not finished are rejected. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.splice(0).map((thread) => thread.close()))
  }
}

interface Waiting {
  resolve: (reply: StreamReply) => void
  reject: (error: Error) => void
}

class HashThread {
  /** Hashes in progress. */
  streams = 0
  readonly #worker: Worker
  /** Requests without a reply yet; replies come in the order of the requests. */
  readonly #waiting: Waiting[] = []
  #failure: AirgapError | undefined
  #lastStream = 0

  constructor() {
    this.#worker = startThread('stream-hash')
    // The thread alone does not keep the process running.
    this.#worker.unref()
    this.#worker.on('message', (reply: StreamReply) => this.#waiting.shift()?.resolve(reply))
    this.#worker.on('error', (error) => {
      this.#failure = new AirgapError('INTERNAL', `a hashing thread failed: ${messageOf(error)}`, {
        cause: error,
      })
      for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
    })
  }

  open(): StreamHash {
    const stream = ++this.#lastStream
    this.streams += 1
    let isOpen = true
    const end = (): void => {
      if (isOpen) this.streams -= 1
      isOpen = false
    }
    return {
      update: async ({ memory }: Block, length) => {
        await this.#ask({ type: 'update', stream, memory, length })
      },
      digest: async () => {
        const { digest } = await this.#ask({ type: 'digest', stream })
        end()
        if (digest === undefined) throw new AirgapError('INTERNAL', 'a hashing thread gave no digest')
        return digest
      },
      drop: () => {
        if (isOpen) this.#worker.postMessage({ type: 'drop', stream } satisfies StreamRequest)
        end()
      },
    }
  }

  async close(): Promise<void> {
    await this.#worker.terminate()
    this.#failure ??= new AirgapError(
      'INTERRUPTED',
      'a hashing thread was terminated before it had hashed everything',
    )
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
  }

  #ask(request: StreamRequest): Promise<StreamReply> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure)
      this.#waiting.push({ resolve, reject })
      this.#worker.postMessage(request)
    })
  }
}
