import type { HostTlsTable } from '../registry/way/host-tls.ts'
import type { ProxySettings } from '../registry/way/proxies.ts'
import type { RunOptions } from './run.ts'

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
  /** Transfers at a time; 6 where left out. */
  concurrency?: number | undefined
}
