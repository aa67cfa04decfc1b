import { randomUUID } from 'node:crypto'

/** An upload that has been started and not yet finished. */
export interface UploadSession {
  id: string
  repository: string
  chunks: Uint8Array[]
  /** Bytes received so far; only whole chunks count. */
  size: number
  /** Which request may add to it: the latest one that began to. */
  turn: number
}

const MAX_SESSIONS = 1000

export class UploadSessions {
  readonly #sessions = new Map<string, UploadSession>()

  /** @returns undefined where too many are open */
  start(repository: string): UploadSession | undefined {
    if (this.#sessions.size >= MAX_SESSIONS) return undefined
    const session = { id: randomUUID(), repository, chunks: [], size: 0, turn: 0 }
    this.#sessions.set(session.id, session)
    return session
  }

  find(repository: string, id: string): UploadSession | undefined {
    const session = this.#sessions.get(id)
    return session?.repository === repository ? session : undefined
  }

  end(session: UploadSession): void {
    session.turn++
    this.#sessions.delete(session.id)
  }
}
