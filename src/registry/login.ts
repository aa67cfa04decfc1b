import { running } from '../content/run.ts'
import type { LoginTarget } from './auth/login-target.ts'
import { pressureOf, type NetworkOptions, type RegistryLogin } from './options.ts'

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
