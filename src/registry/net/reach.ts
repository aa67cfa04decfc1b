import { isIP } from 'node:net'
import { bareHost, isLoopbackHost, isPrivateAddress } from './hosts.ts'
import type { NameGuard } from './name-guard.ts'

export interface ReachRules {
  /** All addresses of a host name; empty when it has none. */
  addressesOf: (host: string) => Promise<string[]>
  /** Looks up the names for later connections. */
  names?: NameGuard | undefined
}

/**
 * Whether `hostname` is inside a private network although somebody outside sent us there: a registry on the internet,
 * or whoever put an image into it, could make us contact hosts inside (GHSA-xf85-363p-868w). Where the host is outside,
 * later connections to it are held to that.
 *
 * @param from hosts of the registries that sent us. They count as inside only where each of them has addresses and all
 *   of these are private: a public registry does not become private by listing a private address as well.
 */
export async function leadsInside(
  hostname: string,
  from: readonly string[],
  rules: ReachRules,
): Promise<boolean> {
  const found = await hostAddresses(hostname, rules)
  if (!found.some(isPrivateAddress)) {
    rules.names?.keepOutside(bareHost(hostname))
    return false
  }
  const origins = await Promise.all(from.map((host) => hostAddresses(host, rules)))
  const isFromInside =
    origins.length > 0 && origins.every((own) => own.length > 0 && own.every(isPrivateAddress))
  return !isFromInside
}

async function hostAddresses(hostname: string, rules: ReachRules): Promise<string[]> {
  const host = bareHost(hostname)
  if (isIP(host) !== 0) return [host]
  if (isLoopbackHost(host)) return ['127.0.0.1']
  const found = await rules.addressesOf(host)
  return [...found, ...(rules.names?.givenTo(host) ?? [])]
}
