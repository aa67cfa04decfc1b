import { pressureOf, type NetworkOptions, type RegistryAccess } from '../../registry/options.ts'
import type { RegistryClient } from '../../registry/client.ts'
import type { CredentialSource } from '../../registry/auth/credentials.ts'
import type { OnEvent } from '../../content/events.ts'
import { parseRate, parseTimeout } from '../output/amounts.ts'

/** The values of `registryFlags`. */
export interface RegistryFlagValues {
  'plain-http'?: string[] | undefined
  'ca-file'?: string | undefined
  'insecure-skip-tls-verify'?: string[] | undefined
  'auth-file'?: string | undefined
  'allow-token-realm'?: string[] | undefined
  retries?: number | undefined
  timeout?: string | undefined
  'max-rate'?: string | undefined
}

/**
 * How much a registry is asked to bear, and how long it is waited for, as the flags say.
 * @throws AirgapError `USAGE`
 */
export function pressureOptions(
  flags: RegistryFlagValues,
): Pick<NetworkOptions, 'retries' | 'timeout' | 'maxRate'> {
  return {
    retries: flags.retries,
    ...(flags.timeout === undefined ? {} : { timeout: parseTimeout(flags.timeout) }),
    ...(flags['max-rate'] === undefined ? {} : { maxRate: parseRate(flags['max-rate']) }),
  }
}

/** How registries are reached, as the flags say. */
export function registryOptions(flags: RegistryFlagValues): RegistryAccess {
  return {
    plainHttp: flags['plain-http'] ?? [],
    insecureSkipTlsVerify: flags['insecure-skip-tls-verify'] ?? [],
    allowTokenRealm: flags['allow-token-realm'] ?? [],
    ...(flags['ca-file'] === undefined ? {} : { caFile: flags['ca-file'] }),
    ...(flags['auth-file'] === undefined ? {} : { authFile: flags['auth-file'] }),
  }
}

/**
 * A client as the flags say. Loads the HTTP stack only now, because most of a command line is checked before.
 * @param credentials in place of those that are stored.
 */
export async function openClient(
  flags: RegistryFlagValues,
  onEvent: OnEvent,
  credentials: CredentialSource,
): Promise<RegistryClient> {
  const pressure = pressureOf(pressureOptions(flags))
  const { RegistryClient } = await import('../../registry/client.ts')
  return new RegistryClient({
    ...registryOptions(flags),
    ...pressure,
    credentials,
    onNotice: (notice) => onEvent({ type: 'registry', notice }),
  })
}
