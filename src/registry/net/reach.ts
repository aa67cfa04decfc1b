import { isIP } from 'node:net'
import { bareHost, isLoopbackHost, isPrivateAddress } from './hosts.ts'
import type { NameGuard } from './name-guard.ts'
import { setTimeout as sleep } from 'node:timers/promises'

/** How long to look up a name that the proxy will look up in any case. */
const PATIENCE_MS = 2_000

/**
 * Looks names up for the rules about private addresses, where some hosts are behind a proxy. Their names may be unknown
 * here, and a DNS server that does not answer would delay each token. An address known here counts; where none is, only
 * the proxy knows the address, and has to decide.
 *
 * @param lookup all addresses of a name; none for an unknown name.
 */
export function addressesBehind(
  isProxied: (host: string) => boolean,
  lookup: (host: string) => Promise<string[]>,
  patienceMs = PATIENCE_MS,
): (host: string) => Promise<string[]> {
  const known = new Map<string, Promise<string[]>>()
  return (host) => {
    if (!isProxied(host)) return lookup(host)
    let found = known.get(host)
    if (!found) {
      found = Promise.race([lookup(host), sleep(patienceMs, [], { ref: false })])
      known.set(host, found)
    }
    return found
  }
}

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
