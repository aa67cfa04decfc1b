import { lookup, type LookupAddress, type LookupOptions } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { bareHost, hostOf, isLinkLocalAddress, isPrivateAddress } from './hosts.ts'

/** The error code of a connection to a host whose name led outside when it was checked, and now leads inside. */
const REBOUND = 'ERR_PRIVATE_ADDRESS'

/** A connection to a link-local address, by a host that the user has not named. */
export class LinkLocalFault extends Error {
  /** The address that the host name leads to; undefined where the host is an address itself. */
  readonly address: string | undefined

  constructor(host: string, address: string | undefined) {
    super(address === undefined ? `${host} is a link-local address` : `${host} leads to ${address}`)
    this.address = address
  }
}

/**
 * Looks up the names for all connections of a client. A name is checked before it is contacted, and looked up again for
 * the connection. Whoever runs its DNS could answer first with an outside address and then with an inside one (DNS
 * rebinding). So every check includes the addresses that connections were given, and a name that was found to be
 * outside gets no more connections to the inside.
 *
 * No name may lead to a link-local address, unless the user has named the host and it never had any other kind of
 * address. Where a name also has other addresses, those are used.
 *
 * Where a proxy looks names up, none of this can be checked, and the proxy has to decide.
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

  /** Records that the user has named this host, with or without a port: as a registry, a mirror or a service. */
  named(host: string): void {
    this.#named.add(hostOf(host))
  }

  /** @throws LinkLocalFault for a link-local address that the user has not named. */
  checkHost(hostname: string): void {
    const host = bareHost(hostname).toLowerCase()
    if (isLinkLocalAddress(host) && !this.#named.has(host)) throw new LinkLocalFault(host, undefined)
  }

  /** All addresses that DNS has for a host now; none where it has none, or the lookup fails. */
  addressesOf(host: string): Promise<string[]> {
    return new Promise((resolve) => {
      // A name without an address cannot be contacted either: the connection reports that.
      this.#resolve(host, { all: true }, (error, found) => resolve(error ? [] : addressesIn(found)))
    })
  }

  /** All addresses that connections to a host have been given so far. */
  givenTo(host: string): readonly string[] {
    return [...(this.#given.get(host.toLowerCase()) ?? [])]
  }

  /** From now on, connections to this host fail if they lead inside. */
  keepOutside(host: string): void {
    this.#outside.add(host.toLowerCase())
  }

  /** The addresses of a DNS answer that a connection may use. */
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
      const reason = `its name now leads to ${inside}, inside a private network, but led outside when it was checked`
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
