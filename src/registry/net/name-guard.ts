import { lookup, type LookupAddress, type LookupOptions } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { bareHost, hostOf, isLinkLocalAddress, isPrivateAddress } from './hosts.ts'

/** What a connection fails with whose host had another kind of address when it was checked. */
const REBOUND = 'ERR_PRIVATE_ADDRESS'

/** A connection that would lead to a link-local address, though nobody here has named its host. */
export class LinkLocalFault extends Error {
  /** The address that the host's name leads to; undefined where the host is that address itself. */
  readonly address: string | undefined

  constructor(host: string, address: string | undefined) {
    super(address === undefined ? `${host} is a link-local address` : `${host} leads to ${address}`)
    this.address = address
  }
}

/**
 * Looks up the names of all connections of a client. A name is checked before it is contacted, and looked up again for
 * the connection; whoever runs its DNS could answer the first time with an address outside and then with one inside
 * (DNS rebinding). So what the connections were given counts in every check, and a name that was found to be outside
 * gets no connection to the inside any more.
 *
 * No name leads to a link-local address, unless the user has named the host and it never had an address of another kind.
 * Where a name has other addresses besides, these are used.
 *
 * Where a proxy looks names up, nothing of this is seen, and the proxy has to decide.
 */
export class NameGuard {
  readonly #resolve: LookupFunction
  readonly #given = new Map<string, Set<string>>()
  readonly #outside = new Set<string>()
  readonly #named = new Set<string>()

  constructor(resolve: LookupFunction = lookup) {
    this.#resolve = resolve
  }

  /** For `net.connect` and `tls.connect`, which call it for names only, not for addresses. */
  readonly lookup: LookupFunction = (hostname, options: LookupOptions, callback) => {
    this.#resolve(hostname, options, (error, found, family) => {
      if (error) return callback(error, found, family)
      const host = hostname.toLowerCase()
      const usable = this.#usable(host, found)
      if (usable instanceof Error) return callback(usable, [])
      const refusal = this.#note(host, usable)
      if (refusal) callback(refusal, [])
      else callback(null, usable, family)
    })
  }

  /** The user has named this host, with a port or without: as a registry, a mirror, a service. */
  named(host: string): void {
    this.#named.add(hostOf(host))
  }

  /** @throws LinkLocalFault for a host that is a link-local address, and that the user has not named. */
  checkHost(hostname: string): void {
    const host = bareHost(hostname).toLowerCase()
    if (isLinkLocalAddress(host) && !this.#named.has(host)) throw new LinkLocalFault(host, undefined)
  }

  /** All addresses of a host as the name service has them now; none where it has none or cannot be looked up. */
  addressesOf(host: string): Promise<string[]> {
    return new Promise((resolve) => {
      // A name without an address cannot be contacted either; that attempt reports it.
      this.#resolve(host, { all: true }, (error, found) => resolve(error ? [] : addressesIn(found)))
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

  /** What of an answer a connection may have. */
  #usable(host: string, found: string | LookupAddress[]): string | LookupAddress[] | LinkLocalFault {
    const addresses = addressesIn(found)
    const linkLocal = addresses.filter(isLinkLocalAddress)
    if (linkLocal.length === 0) return found
    const all = [...addresses, ...this.givenTo(host)]
    if (this.#named.has(host) && all.every(isLinkLocalAddress)) return found
    const others =
      typeof found === 'string' ? [] : found.filter(({ address }) => !isLinkLocalAddress(address))
    return others.length > 0 ? others : new LinkLocalFault(host, linkLocal[0])
  }

  #note(host: string, found: string | LookupAddress[]): Error | undefined {
    const addresses = addressesIn(found)
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

function addressesIn(found: string | LookupAddress[]): string[] {
  return typeof found === 'string' ? [found] : found.map(({ address }) => address)
}
