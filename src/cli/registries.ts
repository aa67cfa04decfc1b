import { parsePlatform, type Platform } from '../oci/platform.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { CredentialSource } from '../registry/credentials.ts'
import type { Mirror } from '../registry/mirrors.ts'
import type { OnEvent } from '../transfer/events.ts'

/** The values of `registryFlags`. */
export interface RegistryFlagValues {
  'plain-http'?: string[] | undefined
  'ca-file'?: string | undefined
  'insecure-skip-tls-verify'?: string[] | undefined
  'auth-file'?: string | undefined
  'allow-token-realm'?: string[] | undefined
}

/**
 * A client as the flags say. Loads the HTTP stack only now, because most of a command line is checked before.
 * @param credentials in place of those that are stored.
 */
export async function openClient(
  flags: RegistryFlagValues,
  onEvent: OnEvent,
  credentials?: CredentialSource,
): Promise<RegistryClient> {
  const { RegistryClient } = await import('../registry/client.ts')
  return new RegistryClient({
    plainHttp: flags['plain-http'] ?? [],
    insecureSkipTlsVerify: flags['insecure-skip-tls-verify'] ?? [],
    allowTokenRealm: flags['allow-token-realm'] ?? [],
    ...(flags['ca-file'] === undefined ? {} : { caFile: flags['ca-file'] }),
    ...(flags['auth-file'] === undefined ? {} : { authFile: flags['auth-file'] }),
    ...(credentials === undefined ? {} : { credentials }),
    onNotice: (notice) => onEvent({ type: 'registry', notice }),
  })
}

export async function parseMirrors(texts: readonly string[] | undefined): Promise<Mirror[]> {
  const { parseMirror } = await import('../registry/mirrors.ts')
  return (texts ?? []).map((text) => parseMirror(text))
}

export function parsePlatforms(texts: readonly string[] | undefined): 'all' | Platform[] {
  if (!texts || texts.length === 0 || (texts.length === 1 && texts[0] === 'all')) return 'all'
  return texts.map((text) => parsePlatform(text))
}
