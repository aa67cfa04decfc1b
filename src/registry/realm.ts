import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { AirgapError } from '../errors.ts'
import type { Endpoint } from './endpoint.ts'
import { bareHost, isListed, isLoopbackHost, isPrivateAddress, printableUrl } from './hosts.ts'
import type { Context } from './notices.ts'

export interface RealmRules {
  /** Hosts that may be a token realm although they are private. */
  allowed: readonly string[]
  plainHttp: readonly string[]
  /** All addresses of a host name; empty when it has none. */
  addressesOf?: (host: string) => Promise<string[]>
}

/**
 * Decides whether a registry may send us, with its credentials, to `realm` for a token. Called for the realm
 * itself and for every redirect from it.
 *
 * - Plain HTTP only where nothing is lost by it: realm and registry are both on this machine, or the user
 *   allowed plain HTTP for the registry or the realm.
 * - A private address only when the registry is private too, the host is the registry's own, or the user
 *   allowed it: otherwise a registry on the internet could make us knock at doors inside (GHSA-xf85-363p-868w).
 *
 * @throws AirgapError `CREDENTIALS`
 */
export async function checkRealm(
  realm: URL,
  endpoint: Endpoint,
  rules: RealmRules,
  context: Context,
): Promise<void> {
  const refuse = (reason: string, hint?: string): never => {
    throw new AirgapError(
      'CREDENTIALS',
      `cannot ${context.operation}: ${endpoint.registry} names the token service ${printableUrl(realm)}, ${reason}`,
      { hint },
    )
  }
  if (realm.protocol !== 'https:' && realm.protocol !== 'http:') refuse('which is not a web address')
  if (realm.protocol === 'http:') {
    const local = isLoopbackHost(realm.hostname) && isLoopbackHost(endpoint.url.hostname)
    if (!local && !endpoint.plainAllowed && !isListed(rules.plainHttp, realm)) {
      refuse(
        'where credentials would be sent without encryption',
        `If that is meant to be, allow it with --plain-http ${realm.host}`,
      )
    }
  }
  if (realm.hostname === endpoint.url.hostname || isListed(rules.allowed, realm)) return
  const addressesOf = rules.addressesOf ?? lookupAll
  const isPrivate = (await hostAddresses(realm.hostname, addressesOf)).some(isPrivateAddress)
  if (!isPrivate) return
  const own = await hostAddresses(endpoint.url.hostname, addressesOf)
  // "every", so that a public registry does not become a private one by listing a private address besides.
  if (own.length > 0 && own.every(isPrivateAddress)) return
  refuse(
    'which is inside a private network while the registry is not',
    `If that is meant to be, allow it with --allow-token-realm ${realm.host}`,
  )
}

async function hostAddresses(
  hostname: string,
  addressesOf: (host: string) => Promise<string[]>,
): Promise<string[]> {
  const host = bareHost(hostname)
  if (isIP(host) !== 0) return [host]
  if (isLoopbackHost(host)) return ['127.0.0.1']
  return addressesOf(host)
}

/** All addresses of a host name; none where it has none or cannot be looked up. */
export async function lookupAll(host: string): Promise<string[]> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address)
  } catch {
    // A name without an address cannot be contacted either; that attempt reports it.
    return []
  }
}
