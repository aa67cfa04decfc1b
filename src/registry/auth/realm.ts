import { AirgapError } from '../../errors.ts'
import type { Endpoint } from '../endpoint.ts'
import { isListed, isLoopbackHost, printableUrl } from '../net/hosts.ts'
import { during, type Context } from '../notices.ts'
import { leadsInside, type ReachRules } from '../net/reach.ts'
import type { Hint } from '../../hints.ts'

export interface RealmRules extends ReachRules {
  /** Hosts that may be token realms although they are private. */
  allowed: readonly string[]
  plainHttp: readonly string[]
}

/**
 * Decides whether a registry may send us, with its credentials, to `realm` for a token. Called for the realm itself and
 * for every redirect from it.
 *
 * - Plain HTTP only if it gives nothing away: realm and registry are both on this machine, or the user allowed plain
 *   HTTP for the registry or the realm.
 * - A private address only if the registry is private too, the host is the registry's own, or the user allowed it.
 *   Otherwise a registry on the internet could make us contact hosts inside (GHSA-xf85-363p-868w).
 *
 * @throws AirgapError `CREDENTIALS`
 */
export async function checkRealm(
  realm: URL,
  endpoint: Endpoint,
  rules: RealmRules,
  context: Context,
): Promise<void> {
  const refuse = (reason: string, hint?: Hint): never => {
    throw new AirgapError(
      'CREDENTIALS',
      `${endpoint.registry} names the token service ${printableUrl(realm)}, ${reason}`,
      { ...during(context), hint },
    )
  }
  if (realm.protocol !== 'https:' && realm.protocol !== 'http:') refuse('which is not an HTTP URL')
  if (realm.protocol === 'http:') {
    const local = isLoopbackHost(realm.hostname) && isLoopbackHost(endpoint.url.hostname)
    if (!local && !endpoint.plainAllowed && !isListed(rules.plainHttp, realm)) {
      refuse('where credentials would be sent without encryption', { id: 'plain-http', host: realm.host })
    }
  }
  if (realm.hostname === endpoint.url.hostname || isListed(rules.allowed, realm)) return
  if (!(await leadsInside(realm.hostname, [endpoint.url.hostname], rules))) return
  refuse('which is inside a private network while the registry is not', {
    id: 'token-realm',
    host: realm.host,
  })
}
