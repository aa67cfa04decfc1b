import type { Readable } from 'node:stream'
import { redacted } from '../../text.ts'
import type { Authenticator, Grant } from '../auth/auth.ts'
import type { Endpoint, Endpoints } from '../endpoint.ts'
import type { ClockWatch } from '../faults/clock.ts'
import { authorityOf } from './hosts.ts'
import { oneLine } from '../faults/quote.ts'
import { transportError } from '../faults/transport.ts'
import { type AuthState } from '../faults/answer.ts'
import type { IntakeParts } from '../blobs/intake.ts'
import type { Context, OnNotice } from '../notices.ts'
import type { Hosts } from './throttle/hosts.ts'
import type { ReachRules } from './reach.ts'
import type { RetryPolicy } from './throttle/host.ts'
import { withRetry } from './retry.ts'
import { discard, failure, headerOf, type HttpRequest, type HttpResponse } from './http.ts'
import { type Transport } from './transport.ts'

export interface Call {
  method: HttpRequest['method']
  /** A path below the registry's origin, or a URL that the registry gave. */
  target: string | URL
  repository: string
  /** The needed scope first, others that would help after it. */
  scopes: readonly string[]
  context: Context
  headers?: Record<string, string>
  /** Called each time the request is sent. */
  body?: (() => Readable | Uint8Array) | undefined
  answerTimeoutMs?: number | undefined
  leastRate?: number | undefined
  signal?: AbortSignal | undefined
  /**
   * For requests outside the registry's API: credentials are sent without fetching a token, or not at all, and no
   * challenge is answered.
   */
  way?: 'basic' | 'anonymous'
}

/** An answer, with the authentication that its request was sent with. */
export interface Answer extends HttpResponse {
  auth: AuthState
}

export interface Shared extends IntakeParts {
  transport: Transport
  /** Which hosts foreign layers may lead to. */
  reach: ReachRules
  endpoints: Endpoints
  authenticator: Authenticator
  policy: RetryPolicy
  hosts: Hosts
  onNotice: OnNotice
  clocks: ClockWatch
}

/** One registry: sends single requests with authentication, and has a retry loop to put around them. */
export class Connection {
  readonly registry: string
  readonly #shared: Shared
  readonly #warned = new Set<string>()
  /** Where there is no referrers API, see {@link Location.group}. */
  readonly withoutReferrers = new Set<string>()
  #endpoint: Endpoint | undefined

  constructor(registry: string, shared: Shared) {
    this.registry = registry
    this.#shared = shared
  }

  get transport(): Transport {
    return this.#shared.transport
  }

  get onNotice(): OnNotice {
    return this.#shared.onNotice
  }

  /**
   * Runs `attempt` under the client's retry policy.
   * @param progressed see {@link RetryOptions}.
   */
  retrying<T>(
    context: Context,
    signal: AbortSignal | undefined,
    attempt: (n: number) => Promise<T>,
    progressed?: () => boolean,
  ): Promise<T> {
    const { policy, onNotice, hosts } = this.#shared
    return withRetry({ policy, context, onNotice, signal, hosts, progressed }, attempt)
  }

  /**
   * Sends a request, with credentials only if it goes to the registry's own origin. A 401 from there is answered as its
   * challenge asks: once, and once more where the first try was with a token that others share. A 401 to the last try
   * is returned like any other status.
   * @throws AirgapError for failures of the transport, of credentials and of the token service.
   */
  async send(call: Call): Promise<Answer> {
    const { context, repository, scopes } = call
    const endpoint = this.#endpoint ?? (await this.#findEndpoint(context, call.signal))
    const url = typeof call.target === 'string' ? new URL(call.target, endpoint.url) : call.target
    const isOwn = url.origin === endpoint.url.origin
    const auth = { endpoint, repository, scopes, context }
    const { authenticator } = this.#shared
    let grant = isOwn ? await authenticator.grant(auth, call.way) : undefined
    let response = await this.#request(call, url, grant)
    for (let refusals = 1; ; refusals++) {
      // A 401 after a redirect to another host is not the registry's: that host gets no credentials.
      const isOwnAnswer = isOwn && call.way === undefined && response.url.origin === endpoint.url.origin
      authenticator.heard(response.status, grant, auth)
      if (!isOwnAnswer || !authenticator.mayBeMended(response.status, grant, auth, refusals)) break
      const better = await authenticator.answer(response.headers['www-authenticate'], grant, auth)
      if (better === undefined) break
      discard(response)
      grant = better
      response = await this.#request(call, url, grant)
    }
    const isRefused = response.status === 401 || response.status === 403
    const state = isRefused && grant ? await authenticator.refusedState(grant, auth) : grant?.state
    return this.#answer(response, state ?? authenticator.unauthenticated('none', this.registry))
  }

  /** Like {@link send}, but any other status than these becomes an error. */
  async expect(statuses: readonly number[], call: Call): Promise<Answer> {
    const answer = await this.send(call)
    if (statuses.includes(answer.status)) return answer
    throw await failure(answer, answer.auth, call.context)
  }

  /** The `service` in the registry's challenge; undefined where it has none, or no challenge has come yet. */
  async tokenService(context: Context): Promise<string | undefined> {
    return this.#shared.authenticator.serviceOf(await this.#findEndpoint(context, undefined))
  }

  /** May take a connection, for which the host has to be ready as for a request. */
  async #findEndpoint(context: Context, signal: AbortSignal | undefined): Promise<Endpoint> {
    const { hosts, endpoints } = this.#shared
    this.#endpoint ??= await hosts.reach(authorityOf(this.registry), context, signal, async () => {
      try {
        return await endpoints.resolve(this.registry)
      } catch (error) {
        throw transportError(error, context, this.registry)
      }
    })
    return this.#endpoint
  }

  #request(call: Call, url: URL, grant: Grant | undefined): Promise<HttpResponse> {
    const { method, context, headers, signal, answerTimeoutMs, leastRate } = call
    return this.#shared.transport.request({
      method,
      url,
      context,
      ...(headers === undefined ? {} : { headers }),
      authorization: grant?.header,
      body: call.body?.(),
      answerTimeoutMs,
      leastRate,
      signal,
    })
  }

  #answer(response: HttpResponse, auth: AuthState): Answer {
    this.#showWarnings(response)
    if (response.url.origin === response.requested.origin) {
      const date = headerOf(response, 'date')
      this.#shared.clocks.see(response.url.host, { date, age: headerOf(response, 'age') }, auth.issuedAt)
    }
    return { ...response, auth }
  }

  /** Passes on a registry's warnings to its users (distribution-spec § Warnings), each text once. */
  #showWarnings(response: HttpResponse): void {
    for (const line of [response.headers['warning'] ?? []].flat()) {
      const text = /^299 - "((?:[^"\\]|\\.)*)"/.exec(line)?.[1]
      if (text === undefined || this.#warned.has(text) || this.#warned.size >= 100) continue
      this.#warned.add(text)
      this.#shared.onNotice({
        type: 'warning',
        message: redacted(`${this.registry} says: ${oneLine(text.replace(/\\(.)/g, '$1'))}`),
      })
    }
  }
}
