import type { Context } from '../notices.ts'
import type { Expected } from '../expected.ts'
import { grantsOf, splitScope, takeIn, type Grants } from './scopes.ts'
import type { Token } from './token.ts'

/** A token is renewed this long before it expires, so that it does not expire on its way. */
const RENEW_BEFORE_MS = 10_000
const MOST_TOKENS = 4096

/** The most repositories that share a token, if it fits into a header. */
const MOST_SHARED = 40
/** Common proxies accept lines of 8 KiB. Characters of the token, and of the scopes in the URL that requests it. */
const MOST_TOKEN = 6 * 1024
const MOST_QUERY = 6 * 1024
/** After so many useless shared tokens, no more are requested. */
const MOST_USELESS = 2

/** A token, or one that is being fetched. */
export interface TokenEntry {
  /** The grants that it was requested for; fewer once the service has refused some. */
  grants: Grants
  token: Promise<Token>
  /** The context of the request that it was first needed for: errors name that. */
  context: Context
  /** Whether it was requested for more than its first request needs. */
  isShared: boolean
  /** Set once the token has arrived, like `header`. Milliseconds of `Date.now()`. */
  expires?: number
  header?: string
  isDropped: boolean
  /** The repositories that have accepted it. */
  readonly proven: Set<string>
}

/**
 * The tokens for one registry, token service and set of credentials. Expected repositories share tokens, with the
 * needed one first. Services differ: some read only one scope, some refuse all scopes because of one. So a repository
 * that a shared token does not open gets its own, and after two such cases all do.
 */
export class TokenGroup {
  /** Whether the service does not know the credentials; undefined until it was asked. */
  areUnknown: Promise<boolean> | undefined
  readonly #entries = new Map<string, TokenEntry[]>()
  readonly #own = new Set<string>()
  #count = 0
  #useless = 0
  #most = MOST_SHARED
  #turn: Promise<unknown> = Promise.resolve()

  /** Runs lookups and requests of tokens one after the other, so that each finds the tokens of those before it. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => {})
    return mine
  }

  /** A token, or one being fetched, that holds all of `scopes` and that this repository may use. */
  find(repository: string, scopes: readonly string[]): TokenEntry | undefined {
    const [resource] = splitScope(scopes[0] ?? '')
    return this.#entries
      .get(resource)
      ?.find((entry) => isLive(entry) && this.#maySee(entry, repository) && takeIn(entry.grants, scopes))
  }

  #maySee({ isShared, proven }: TokenEntry, repository: string): boolean {
    return !isShared || proven.has(repository) || (this.#shares && !this.#own.has(repository))
  }

  get #shares(): boolean {
    return this.#useless < MOST_USELESS && this.#most > 1
  }

  /**
   * What to request when `scopes` are needed: these first, then what other repositories will need soon.
   * @param isFit whether another repository has the same credentials.
   */
  async batch(
    repository: string,
    scopes: readonly string[],
    expected: Expected | undefined,
    isFit: (repository: string) => Promise<boolean>,
  ): Promise<string[]> {
    const [needed, ...besides] = scopes
    if (!expected || needed === undefined || !this.#shares || this.#own.has(repository)) return [...scopes]
    const whole = expected.scope(repository)
    const first = whole !== undefined && takeIn(grantsOf([whole]), [needed]) ? whole : needed
    const batch = [first, ...besides]
    const asked = new Set(batch.map((scope) => splitScope(scope)[0]))
    let length = batch.reduce((sum, scope) => sum + lengthOf(scope), 0)
    const add = async (other: string): Promise<boolean> => {
      const scope = expected.scope(other)
      if (scope === undefined || this.#own.has(other) || asked.has(splitScope(scope)[0])) return true
      if (batch.length >= this.#most || length + lengthOf(scope) > MOST_QUERY) return false
      if (!(await isFit(other))) return true
      asked.add(splitScope(scope)[0])
      length += lengthOf(scope)
      batch.push(scope)
      return true
    }
    // Without these, each of the other repositories would need another token for its first mount.
    for (const source of expected.sources) if (!(await add(source))) break
    for (const other of expected.beside(repository)) {
      const scope = expected.scope(other)
      if (scope !== undefined && this.find(other, [scope, ...besides])) continue
      if (!(await add(other))) break
    }
    return batch
  }

  /** Keeps a token that is being fetched, so that others wait for it instead of requesting one too. */
  add(entry: TokenEntry): void {
    if (this.#count >= MOST_TOKENS) this.#clear()
    this.#count++
    for (const resource of entry.grants.keys()) {
      const known = (this.#entries.get(resource) ?? []).filter(isLive)
      this.#entries.set(resource, [...known, entry])
    }
    if (entry.grants.size === 0) this.#entries.set('', [entry])
    entry.token.then(
      ({ value, lifetimeMs }) => {
        entry.header = `Bearer ${value}`
        entry.expires = Date.now() + lifetimeMs - RENEW_BEFORE_MS
      },
      () => {
        entry.isDropped = true
      },
    )
  }

  #clear(): void {
    this.#entries.clear()
    this.#count = 0
  }

  /** Whether a shared token is too long to be sent. If so, fewer repositories share the next ones. */
  isTooLong({ value }: Token, asked: number): boolean {
    if (value.length <= MOST_TOKEN) return false
    this.#most = Math.min(this.#most, Math.floor((asked * MOST_TOKEN) / value.length))
    return true
  }

  /** The service refused a shared token, or it did not open a repository that a token of its own then opened. */
  wasUseless(): void {
    this.#useless++
  }

  /**
   * A token was refused by the registry.
   * @param fault the challenge's `error`.
   * @param fresh whether it had just been fetched for this request.
   * @returns whether the repository gets its own token because of that.
   */
  refused(entry: TokenEntry, repository: string, fault: string | undefined, fresh: boolean): boolean {
    const isOver = fault === 'invalid_token' && entry.proven.size > 0 && !fresh
    const isOfScope = fault === 'insufficient_scope' || !entry.proven.has(repository)
    if (entry.isShared && isOfScope && !isOver) {
      entry.proven.delete(repository)
      this.#own.add(repository)
      return true
    }
    if (!fresh) entry.isDropped = true
    return false
  }
}

function isLive({ isDropped, expires }: TokenEntry): boolean {
  return !isDropped && (expires === undefined || expires > Date.now())
}

function lengthOf(scope: string): number {
  return encodeURIComponent(scope).length + '&scope='.length
}
