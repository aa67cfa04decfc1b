import { BlockList, isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { bareHost, portOf } from './hosts.ts'

interface Entry {
  /** Undefined for any port. */
  port: string | undefined
  matches: (host: string, family: 0 | 4 | 6) => boolean
}

/**
 * Reads `NO_PROXY` as Go's `golang.org/x/net/http/httpproxy` does, so that it means here what it means to Docker,
 * Podman and kubectl. Entries stand between commas, or blanks as curl has it:
 *
 * - `*`: no host has a proxy
 * - `10.0.0.0/8`, `fd00::/8`: addresses in that network
 * - `10.1.2.3`, `::1`, and with a port `10.1.2.3:5000`, `[::1]:5000`: that address
 * - `example.com`, `example.com:5000`: that name and all below it
 * - `.example.com`, `*.example.com`: all names below it, and not itself
 *
 * Networks and addresses are compared with literal addresses only: no name is looked up. Entries that make no sense
 * are left out, as they are everywhere else.
 *
 * @returns whether a URL's host is to be contacted directly.
 */
export function parseNoProxy(text: string): (url: URL) => boolean {
  const entries: Entry[] = []
  for (const entry of text.toLowerCase().split(/[,\s]+/)) {
    if (entry === '*') return () => true
    const parsed = entry === '' ? undefined : parseEntry(entry)
    if (parsed) entries.push(parsed)
  }
  return (url) => {
    const host = bareHost(url.hostname.toLowerCase())
    const family = familyOf(host)
    return entries.some(
      ({ port, matches }) => (port === undefined || port === portOf(url)) && matches(host, family),
    )
  }
}

function parseEntry(entry: string): Entry | undefined {
  const network = parseNetwork(entry)
  if (network) return network
  const { host, port } = splitPort(entry)
  const family = familyOf(host)
  if (family !== 0) return { port, matches: inList(listOf(host, family)) }
  const name = host.startsWith('*.') ? host.slice(1) : host
  const isBelowOnly = name.startsWith('.')
  const bare = isBelowOnly ? name.slice(1) : name
  if (bare === '') return undefined
  // What is no name in ASCII form stays as it is, and then matches nothing.
  const ascii = domainToASCII(bare) || bare
  return {
    port,
    matches: (other, otherFamily) =>
      otherFamily === 0 && (other.endsWith(`.${ascii}`) || (!isBelowOnly && other === ascii)),
  }
}

/** `ADDRESS/LENGTH`; bits of the address behind that length are of no account. */
function parseNetwork(entry: string): Entry | undefined {
  const slash = entry.indexOf('/')
  if (slash < 0) return undefined
  const address = entry.slice(0, slash)
  const length = entry.slice(slash + 1)
  const family = familyOf(address)
  if (family === 0 || !/^[0-9]{1,3}$/.test(length) || Number(length) > (family === 4 ? 32 : 128))
    return undefined
  const list = new BlockList()
  list.addSubnet(address, Number(length), family === 4 ? 'ipv4' : 'ipv6')
  const inside = inList(list)
  // BlockList sees all IPv4 addresses in ::ffff:0:0/96; a larger network is about IPv6 alone.
  const takesIpv4 = family === 4 || Number(length) >= 96
  const isIpv4 = (host: string, other: number): boolean =>
    other === 4 || /^::ffff:[0-9a-f]*:[0-9a-f]*$/.test(host)
  return {
    port: undefined,
    matches: (host, other) => (takesIpv4 || !isIpv4(host, other)) && inside(host, other),
  }
}

function splitPort(entry: string): { host: string; port: string | undefined } {
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::([0-9]+))?$/.exec(entry) ?? [undefined, entry]
  return { host: bareHost(host), port }
}

function listOf(address: string, family: 4 | 6): BlockList {
  const list = new BlockList()
  list.addAddress(address, family === 4 ? 'ipv4' : 'ipv6')
  return list
}

function inList(list: BlockList): Entry['matches'] {
  return (host, family) => family !== 0 && list.check(host, family === 4 ? 'ipv4' : 'ipv6')
}

/** 0 for a name; and for an address with a zone (`fe80::1%eth0`), which no URL can hold. */
function familyOf(host: string): 0 | 4 | 6 {
  return host.includes('%') ? 0 : (isIP(host) as 0 | 4 | 6)
}
