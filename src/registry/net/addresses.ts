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
