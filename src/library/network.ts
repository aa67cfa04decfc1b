import type { RegistryClient } from '../registry/client.ts'
import type { Run, RunOptions } from './run.ts'

/** How registries are reached. A registry is `HOST` or `HOST:PORT` throughout. */
export interface RegistryAccess {
  /** Registries that may be spoken to in plain HTTP. */
  plainHttp?: readonly string[] | undefined
  /** PEM file of certificates to trust besides the default roots. */
  caFile?: string | undefined
  /** Registries whose certificate is not checked. */
  insecureSkipTlsVerify?: readonly string[] | undefined
  /** Credentials file in Docker's or Podman's form, asked before all other places. */
  authFile?: string | undefined
  /** Gives the credentials for a registry; asked in place of `authFile` and of everything on this machine. */
  credentials?: ((registry: string) => Promise<RegistryLogin | undefined>) | undefined
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

/** What the engines below take of it: an option that is left out is not there at all. */
export function shared(
  { concurrency }: NetworkOptions,
  { signal, onEvent }: Run,
): Run & { concurrency?: number } {
  return { signal, onEvent, ...(concurrency === undefined ? {} : { concurrency }) }
}

/**
 * Works with a client, and closes it however that ends. The HTTP stack is loaded only now: much goes wrong before it
 * is needed.
 */
export async function withClient<T>(
  { registries: { credentials, ...access } = {} }: NetworkOptions,
  { signal, onEvent }: Run,
  work: (client: RegistryClient) => Promise<T>,
): Promise<T> {
  const registry = await import('../registry/client.ts')
  const { givenCredentials } = await import('../registry/credentials.ts')
  signal.throwIfAborted()
  const client = new registry.RegistryClient({
    ...access,
    credentials: credentials && {
      find: async (host, repository) => {
        const login = await credentials(host)
        return login && givenCredentials(host, login.username, login.password).find(host, repository)
      },
    },
    onNotice: (notice) => onEvent({ type: 'registry', notice }),
  })
  // Not all that is under way knows the signal: tokens are fetched for several requests together.
  const disconnect = (): void => client.disconnect()
  signal.addEventListener('abort', disconnect, { once: true })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}
