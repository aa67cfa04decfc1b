import { AirgapError } from '../errors.ts'
import { BlockPool, HashThreads } from '../hashing/stream-threads.ts'
import { isRegistryHost, isRepository } from '../oci/reference.ts'
import { Authenticator } from './auth/auth.ts'
import { Connection, type Shared } from './net/connection.ts'
import { CredentialStore, type CredentialSource } from './auth/credentials.ts'
import { Endpoints, speaksTls } from './endpoint.ts'
import type { Harbor } from './vendors/harbor.ts'
import { authorityOf } from './net/hosts.ts'
import { ClockWatch } from './faults/clock.ts'
import { NO_REGISTRY } from './faults/quote.ts'
import { transportError } from './faults/transport.ts'
import type { ApiPlace } from './net/location.ts'
import type { NameGuard } from './net/name-guard.ts'
import type { RegistryNotice } from './notices.ts'
import type { Clock } from './net/throttle/clock.ts'
import { Hosts } from './net/throttle/hosts.ts'
import { RemoteRepository } from './remote-repository.ts'
import type { Repository } from './repository.ts'
import { DEFAULT_RETRY, type RetryPolicy } from './net/throttle/host.ts'
import type { Actions } from './auth/scopes.ts'
import { contentTypeOf, discard, failure } from './net/http.ts'
import { Transport } from './net/transport.ts'
import { addressesBehind } from './net/reach.ts'
import type { RouteOptions } from './net/routes.ts'

export type { RegistryNotice } from './notices.ts'

/** How registries are reached ({@link RouteOptions}), and with which credentials. */
export interface RegistryOptions extends Omit<RouteOptions, 'onNotice'> {
  /** `HOST` or `HOST:PORT` to reach by TLS with any certificate if it speaks TLS, and otherwise by plain HTTP. */
  insecure?: readonly string[] | undefined
  /** Credentials file in Docker's or Podman's form, asked before all other sources. */
  authFile?: string | undefined
  /** Used in place of `authFile` and of all other sources. */
  credentials?: CredentialSource | undefined
  /** `HOST` or `HOST:PORT` that may be a token realm although it is private. */
  allowTokenRealm?: readonly string[] | undefined
  /** Default: `process.env`. */
  env?: NodeJS.ProcessEnv | undefined
  retry?: Partial<RetryPolicy>
  /** How long a peer may send nothing; 60 s by default. Milliseconds. */
  timeoutMs?: number | undefined
  /** Bytes a second, over all transfers, both ways. */
  maxRate?: number | undefined
  /** Simultaneous transfers with one host, while it can bear them; 6 by default. */
  concurrency?: number | undefined
  /** Looks up the names of hosts; by the machine's DNS by default. */
  names?: NameGuard | undefined
  /** Time and randomness for waiting; the machine's by default. */
  clock?: Clock | undefined
  onNotice?: (notice: RegistryNotice) => void
}

/** A client for any number of registries (OCI distribution-spec 1.1, Docker Registry HTTP API V2). */
export class RegistryClient {
  readonly #shared: Shared
  readonly #connections = new Map<string, Connection>()
  readonly #repositories = new Map<string, Repository>()
  readonly #disconnected = new AbortController()

  /** @throws AirgapError `FILE` when `caFile` cannot be used. */
  constructor(options: RegistryOptions = {}) {
    const { plainHttp = [], insecure = [], authFile, env = process.env } = options
    const onNotice = options.onNotice ?? (() => {})
    const { signal } = this.#disconnected
    const { clock, concurrency, maxRate } = options
    const policy = { ...DEFAULT_RETRY, ...options.retry }
    const hosts = new Hosts({ policy, clock, concurrency, maxRate, onNotice })
    const transport = new Transport({
      ...wayOptions(options),
      plainHttp: [...plainHttp, ...insecure],
      insecureSkipTlsVerify: [...(options.insecureSkipTlsVerify ?? []), ...insecure],
      stallTimeoutMs: options.timeoutMs,
      hosts,
      names: options.names,
      env,
      onNotice,
    })
    for (const host of options.allowTokenRealm ?? []) transport.names.named(host)
    const isProxied = (host: string, port = 443): boolean =>
      transport.proxyFor(new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`)) !== undefined
    const realms = {
      allowed: options.allowTokenRealm ?? [],
      plainHttp,
      addressesOf: addressesBehind(isProxied, (host) => transport.names.addressesOf(host)),
      names: transport.names,
    }
    this.#shared = {
      transport,
      reach: realms,
      endpoints: new Endpoints({
        plainHttp,
        insecure,
        signal,
        // Through a proxy, loopback does not mean this machine.
        probe: async (host, port, timeoutMs, signal) =>
          isProxied(host, port) || speaksTls(host, port, timeoutMs, signal, transport.names.lookup),
      }),
      authenticator: new Authenticator(
        transport,
        options.credentials ?? new CredentialStore({ authFile, env, signal }),
        realms,
      ),
      policy,
      hosts,
      onNotice,
      clocks: new ClockWatch(onNotice),
      blocks: new BlockPool(),
      threads: new HashThreads(),
    }
  }

  /** The parts of the client that downloads from several registries need. */
  get shared(): Shared {
    return this.#shared
  }

  /**
   * One repository of one registry; nothing is sent yet.
   * @param place for mirrors.
   * @throws AirgapError `INVALID_REFERENCE`
   */
  repository(
    registry: string,
    repository: string,
    place: ApiPlace & Pick<Repository, 'onPassedOver'> = {},
  ): Repository {
    if (!isRegistryHost(registry)) {
      throw new AirgapError('INVALID_REFERENCE', `${JSON.stringify(registry)} is not a registry host`)
    }
    if (!isRepository(repository)) {
      throw new AirgapError(
        'INVALID_REFERENCE',
        `${JSON.stringify(repository)} is not a repository of ${registry}: lower-case path parts, at most 255 characters`,
      )
    }
    const { apiRoot, namespace, onPassedOver } = place
    const key = JSON.stringify([registry, repository, apiRoot, namespace, onPassedOver !== undefined])
    let found = this.#repositories.get(key)
    if (!found) {
      found = new RemoteRepository(this.#connection(registry), repository, this, place)
      this.#repositories.set(key, found)
    }
    return found
  }

  /**
   * Announces which repositories of a registry will be used. Where the registry wants tokens, one is then requested for
   * several of them. This sends nothing, and unused repositories cost nothing.
   */
  expect(registry: string, repositories: Iterable<string>, actions: Actions): void {
    this.#shared.authenticator.expect(registry, repositories, actions)
  }

  /** Announces which repositories of a registry blobs will be mounted from, those of the most mounts first. */
  expectSources(registry: string, repositories: readonly string[]): void {
    this.#shared.authenticator.expectSources(registry, repositories)
  }

  /**
   * The origin at which a registry is contacted, such as `https://registry.internal:5000`.
   * @throws AirgapError when that depends on a loopback registry which cannot be reached.
   */
  async originOf(registry: string): Promise<string> {
    try {
      return (await this.#shared.endpoints.resolve(registry)).url.origin
    } catch (error) {
      throw transportError(error, { registry, operation: 'reach the registry' }, registry)
    }
  }

  /**
   * Requests the base of the registry's API (distribution-spec end-1), with credentials if it wants them.
   * @returns whether it wanted any.
   * @throws AirgapError `UNAUTHORIZED`, `DENIED`, `REGISTRY` (there is no registry), `NETWORK`, `TLS`
   */
  async ping(
    registry: string,
    operation: string,
    signal?: AbortSignal,
  ): Promise<{ wantsCredentials: boolean }> {
    const connection = this.#connection(registry)
    const context = { registry, operation }
    return connection.retrying(context, signal, async () => {
      const answer = await connection.send({
        method: 'GET',
        target: '/v2/',
        repository: '',
        scopes: [],
        context,
        signal,
      })
      const isPage = answer.status === 200 && contentTypeOf(answer) === 'text/html'
      if (answer.status === 404 || isPage) {
        discard(answer)
        throw new AirgapError(
          'REGISTRY',
          `${registry} is not a registry: it answers /v2/ with ${isPage ? 'a web page' : '404 Not Found'}`,
          { doing: operation, hint: NO_REGISTRY },
        )
      }
      if (answer.status !== 200) throw await failure(answer, answer.auth, context)
      discard(answer)
      return { wantsCredentials: answer.auth.kind !== 'none' }
    })
  }

  /**
   * The registry as a Harbor, with its projects; undefined if it is not one.
   * @param isAsked whether to send requests for this; false only uses what the registry has answered so far.
   * @throws AirgapError as {@link ping}
   */
  async harbor(
    registry: string,
    { isAsked, signal }: { isAsked: boolean; signal?: AbortSignal | undefined },
  ): Promise<Harbor | undefined> {
    const { findHarbor, harborBehind } = await import('./vendors/harbor.ts')
    if (!isAsked) return harborBehind(this.#connection(registry))
    await this.ping(registry, `ask ${registry} what it is`, signal)
    return findHarbor(this.#connection(registry), signal)
  }

  #connection(registry: string): Connection {
    const authority = authorityOf(registry)
    let connection = this.#connections.get(authority)
    if (!connection) {
      connection = new Connection(registry, this.#shared)
      this.#shared.transport.names.named(registry)
      this.#connections.set(authority, connection)
    }
    return connection
  }

  /**
   * Ends requests, probes and credential helpers with `INTERRUPTED`, so that whatever waits for them ends, and
   * {@link close} does not have to wait.
   */
  disconnect(): void {
    if (this.#disconnected.signal.aborted) return
    const reason = new AirgapError('INTERRUPTED', 'the connections were given up')
    this.#disconnected.abort(reason)
    this.#shared.hosts.close(reason)
    void this.#shared.transport.close()
  }

  /** Closes all connections; current requests fail. */
  async close(): Promise<void> {
    this.disconnect()
    await Promise.all([this.#shared.transport.close(), this.#shared.threads.close()])
  }
}

function wayOptions(options: RegistryOptions): RouteOptions {
  const { caFile, insecureSkipTlsVerify, plainHttp, hostTls, certsFolders, proxies } = options
  return { caFile, insecureSkipTlsVerify, plainHttp, hostTls, certsFolders, proxies }
}
