import type { RegistryClient } from './client.ts'
import type { AccessOptions } from './mirrors/access.ts'
import { pressureOf, type NetworkOptions, type RegistryLogin } from './options.ts'
import { type Run, running } from '../content/run.ts'
import type { LoginTarget } from './auth/login-target.ts'

/**
 * Works with a client, and closes it however the work ends. The HTTP stack is loaded only here: many runs fail before
 * they need it.
 * @param files how mirror files say to reach hosts.
 */
export async function withClient<T>(
  { registries: { credentials, ...access } = {}, ...options }: NetworkOptions,
  { signal, onEvent }: Run,
  work: (client: RegistryClient) => Promise<T>,
  files?: AccessOptions,
): Promise<T> {
  const pressure = pressureOf(options)
  const registry = await import('./client.ts')
  const { givenCredentials } = await import('./auth/credentials.ts')
  signal.throwIfAborted()
  const client = new registry.RegistryClient({
    ...access,
    ...(files && {
      ...files,
      plainHttp: [...(access.plainHttp ?? []), ...files.plainHttp],
      insecureSkipTlsVerify: [...(access.insecureSkipTlsVerify ?? []), ...files.insecureSkipTlsVerify],
      hostTls: { ...files.hostTls, ...access.hostTls },
    }),
    ...pressure,
    credentials: credentials && {
      isPerRegistry: true,
      find: async (host, repository) => {
        const login = await Promise.race([credentials(host, signal), rejectedBy(signal)])
        return login && givenCredentials(host, login.username, login.password).find(host, repository)
      },
    },
    onNotice: (notice) => onEvent({ type: 'registry', notice }),
  })
  // Not everything in progress gets the signal: tokens are fetched for several requests together.
  const disconnect = (): void => client.disconnect()
  signal.addEventListener('abort', disconnect, { once: true })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}

/** Rejects when the work is aborted: the caller's promise may never settle. */
function rejectedBy(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}

/**
 * Asks a registry whether it accepts a user name and a password. Nothing is stored.
 * @returns `wantsCredentials`: false where the registry needs no credentials, so that nothing was checked.
 * @throws AirgapError `UNAUTHORIZED`, `DENIED`, and the errors of registries; the signal's reason.
 */
export async function checkLogin(
  { registry, name }: LoginTarget,
  { username, password }: RegistryLogin,
  options: NetworkOptions = {},
): Promise<{ wantsCredentials: boolean }> {
  return running(options, async ({ signal, onEvent }) => {
    const { credentials: _, ...access } = options.registries ?? {}
    const pressure = pressureOf(options)
    const { RegistryClient } = await import('./client.ts')
    const { givenCredentials } = await import('./auth/credentials.ts')
    const client = new RegistryClient({
      ...access,
      ...pressure,
      credentials: givenCredentials(registry, username, password),
      onNotice: (notice) => onEvent({ type: 'registry', notice }),
    })
    try {
      return await client.ping(registry, `log in to ${name}`, signal)
    } finally {
      await client.close()
    }
  })
}
