import type { HostTlsTable } from './net/trust.ts'
import type { ProxySettings } from './net/proxies.ts'
import { AirgapError } from '../errors.ts'
import type { RunOptions } from '../content/run.ts'

/** How registries are reached. A registry is `HOST` or `HOST:PORT` throughout. */
export interface RegistryAccess {
  /** Registries that may be reached over plain HTTP. */
  plainHttp?: readonly string[] | undefined
  /** PEM file of certificates to trust besides the default roots. */
  caFile?: string | undefined
  /**
   * Folders with a folder of certificates for each registry, in place of those of Podman and Docker
   * (`/etc/docker/certs.d` and others). The first that has one for a registry counts.
   */
  certsFolders?: readonly string[] | undefined
  /** TLS settings for single registries; for a registry listed here, certificate folders are not read. */
  hostTls?: HostTlsTable | undefined
  /** Forward proxies, in place of `HTTP_PROXY` and the other variables of the environment; `{}` for none. */
  proxies?: ProxySettings | undefined
  /** Registries whose certificate is not checked. */
  insecureSkipTlsVerify?: readonly string[] | undefined
  /** Credentials file in Docker's or Podman's form, asked before all other places. */
  authFile?: string | undefined
  /**
   * Returns the credentials for a registry, or undefined for none. Used in place of `authFile` and of everything on
   * this machine. The signal is aborted when they are no longer needed.
   */
  credentials?: ((registry: string, signal: AbortSignal) => Promise<RegistryLogin | undefined>) | undefined
  /** Hosts that may be a token service although they are private. */
  allowTokenRealm?: readonly string[] | undefined
}

/** User name and password for a registry. */
export interface RegistryLogin {
  username: string
  password: string
}

/** Options of engines that use registries. */
export interface NetworkOptions extends RunOptions {
  /** How registries are reached; by default over HTTPS, with the credentials of this machine. */
  registries?: RegistryAccess | undefined
  /** Simultaneous transfers; 6 by default. A registry that pushes back gets fewer, for as long as it does. */
  concurrency?: number | undefined
  /** Attempts after the first, for errors that may pass by themselves; 4 by default. */
  retries?: number | undefined
  /** How long a peer may send nothing; 60 000 by default. Milliseconds. */
  timeout?: number | undefined
  /** Bytes a second over all transfers, both ways; no limit by default. */
  maxRate?: number | undefined
}

/**
 * Checks these options, and returns them in the client's form.
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
      throw new AirgapError('USAGE', `${name} has to be a number of at least ${least}, but is ${value}`)
    }
  }
  return {
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(retries === undefined ? {} : { retry: { attempts: Math.floor(retries) + 1 } }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    ...(maxRate === undefined ? {} : { maxRate }),
  }
}
