import type { HostTlsTable } from './net/trust.ts'
import type { ProxySettings } from './net/proxies.ts'
import { AirgapError } from '../errors.ts'
import type { RunOptions } from '../content/run.ts'

/** How registries are reached. A registry is `HOST` or `HOST:PORT` throughout. */
export interface RegistryAccess {
  /** Registries that may be spoken to in plain HTTP. */
  plainHttp?: readonly string[] | undefined
  /** PEM file of certificates to trust besides the default roots. */
  caFile?: string | undefined
  /**
   * Folders with a folder of certificates for each registry, in place of those of Podman and Docker
   * (`/etc/docker/certs.d` and others); the first that has one for a registry counts.
   */
  certsFolders?: readonly string[] | undefined
  /** TLS with single registries; one that is in it has no folder of certificates. */
  hostTls?: HostTlsTable | undefined
  /** Forward proxies, in place of the environment's `HTTP_PROXY` and its like; `{}` for none. */
  proxies?: ProxySettings | undefined
  /** Registries whose certificate is not checked. */
  insecureSkipTlsVerify?: readonly string[] | undefined
  /** Credentials file in Docker's or Podman's form, asked before all other places. */
  authFile?: string | undefined
  /**
   * Gives the credentials for a registry, undefined for none; asked in place of `authFile` and of everything on this
   * machine. The signal says that nobody waits for them any more.
   */
  credentials?: ((registry: string, signal: AbortSignal) => Promise<RegistryLogin | undefined>) | undefined
  /** Hosts that may be a token service though they are private. */
  allowTokenRealm?: readonly string[] | undefined
}

/** A user of a registry. */
export interface RegistryLogin {
  username: string
  password: string
}

/** What engines take that talk to registries. */
export interface NetworkOptions extends RunOptions {
  /** How registries are reached; over HTTPS, with the credentials of this machine, where left out. */
  registries?: RegistryAccess | undefined
  /** Transfers at a time; 6 where left out. A registry that pushes back gets fewer, for as long as it does. */
  concurrency?: number | undefined
  /** Attempts after the first, where a fault may pass by itself; 4 where left out. */
  retries?: number | undefined
  /** How long a peer may be silent; 60 000 where left out. Milliseconds. */
  timeout?: number | undefined
  /** Bytes a second over everything that comes and goes; no limit where left out. */
  maxRate?: number | undefined
}

/**
 * The same in a client's terms, each checked.
 * @throws AirgapError `USAGE`
 */
export function pressureOf({
  concurrency,
  retries,
  timeout,
  maxRate,
}: Pick<NetworkOptions, 'concurrency' | 'retries' | 'timeout' | 'maxRate'>): {
  concurrency?: number | undefined
  retry?: { attempts: number }
  timeoutMs?: number
  maxRate?: number
} {
  for (const [name, value, least] of [
    ['retries', retries, 0],
    ['timeout', timeout, 1],
    ['maxRate', maxRate, 1],
  ] as const) {
    if (value !== undefined && !(Number.isFinite(value) && value >= least)) {
      throw new AirgapError('USAGE', `${name} has to be a number of at least ${least}, and is ${value}`)
    }
  }
  return {
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(retries === undefined ? {} : { retry: { attempts: Math.floor(retries) + 1 } }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    ...(maxRate === undefined ? {} : { maxRate }),
  }
}
