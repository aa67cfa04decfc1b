import { lookup, type LookupAddress, type LookupOptions } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { isPrivateAddress } from './hosts.ts'

/** What a connection fails with whose host had another kind of address when it was checked. */
const REBOUND = 'ERR_PRIVATE_ADDRESS'

/**
 * Looks up the names of all connections of a client. A name is checked before it is contacted, and looked up again for
 * the connection; whoever runs its DNS could answer the first time with an address outside and then with one inside
 * (DNS rebinding). So what the connections were given counts in every check, and a name that was found to be outside
 * gets no connection to the inside any more.
 *
 * Where a proxy looks names up, nothing of this is seen, and the proxy has to decide.
 */
export class NameGuard {
  readonly #resolve: LookupFunction
  readonly #given = new Map<string, Set<string>>()
  readonly #outside = new Set<string>()

  constructor(resolve: LookupFunction = lookup) {
    this.#resolve = resolve
  }

  /** For `net.connect` and `tls.connect`, which call it for names only, not for addresses. */
  readonly lookup: LookupFunction = (hostname, options: LookupOptions, callback) => {
    this.#resolve(hostname, options, (error, found, family) => {
      if (error) return callback(error, found, family)
      const refusal = this.#note(hostname, found)
      if (refusal) callback(refusal, [])
      else callback(null, found, family)
    })
  }

  /** All addresses that connections to a host were given so far. */
  givenTo(host: string): readonly string[] {
    return [...(this.#given.get(host.toLowerCase()) ?? [])]
  }

  /** From now on, a connection to this host fails that would lead inside. */
  keepOutside(host: string): void {
    this.#outside.add(host.toLowerCase())
  }

  #note(hostname: string, found: string | LookupAddress[]): Error | undefined {
    const host = hostname.toLowerCase()
    const addresses = typeof found === 'string' ? [found] : found.map(({ address }) => address)
    const inside = addresses.find(isPrivateAddress)
    if (inside !== undefined && this.#outside.has(host)) {
      const reason = `its name now leads to ${inside}, inside a private network; when it was checked it led outside`
      return Object.assign(new Error(reason), { code: REBOUND })
    }
    const given = this.#given.get(host) ?? new Set()
    for (const address of addresses) given.add(address)
    this.#given.set(host, given)
    return undefined
  }
}
