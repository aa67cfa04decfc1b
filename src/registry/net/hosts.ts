import { BlockList, isIP } from 'node:net'

const DOCKER_HUB = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io'])

/** Whether a registry name is one of Docker Hub's names. */
export function isDockerHub(registry: string): boolean {
  return DOCKER_HUB.has(registry.toLowerCase())
}

/** The host and port to contact for a registry: the name itself, except for `docker.io`. */
export function authorityOf(registry: string): string {
  return isDockerHub(registry) ? 'registry-1.docker.io' : registry.toLowerCase()
}

/** Host name or address without the brackets that URLs put around IPv6. */
export function bareHost(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1')
}

/** The host name or address of a registry name, without its port. */
export function hostOf(registry: string): string {
  return bareHost(authorityOf(registry).replace(/:[0-9]+$/, ''))
}

/** The port of a URL; the default of its scheme where it names none. */
export function portOf(url: URL): string {
  return url.port === '' ? (url.protocol === 'http:' ? '80' : '443') : url.port
}

/** A URL as messages show it: no user part, no query. */
export function printableUrl(url: URL): string {
  return `${url.origin}${url.pathname}`
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

const PRIVATE = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const) {
  PRIVATE.addSubnet(network, prefix, 'ipv4')
  // The same addresses behind a NAT64 gateway (RFC 6052).
  PRIVATE.addSubnet(`64:ff9b::${network}`, 96 + prefix, 'ipv6')
}
PRIVATE.addAddress('::', 'ipv6')
PRIVATE.addAddress('::1', 'ipv6')
PRIVATE.addSubnet('fc00::', 7, 'ipv6')
PRIVATE.addSubnet('fe80::', 10, 'ipv6')
PRIVATE.addSubnet('fec0::', 10, 'ipv6')

const LINK_LOCAL = new BlockList()
LINK_LOCAL.addSubnet('169.254.0.0', 16, 'ipv4')
LINK_LOCAL.addSubnet('64:ff9b::169.254.0.0', 112, 'ipv6')
LINK_LOCAL.addSubnet('fe80::', 10, 'ipv6')
// The other addresses of cloud metadata services: AWS, Google, Scaleway; Alibaba, Azure, Oracle.
for (const address of ['fd00:ec2::254', 'fd20:ce::254', 'fd00:42::42']) {
  LINK_LOCAL.addAddress(address, 'ipv6')
}
for (const address of ['100.100.100.200', '168.63.129.16', '192.0.0.192']) {
  LINK_LOCAL.addAddress(address, 'ipv4')
}

/** Whether a URL's host is literally this machine: `localhost`, `127.0.0.0/8` or `[::1]`. No name is looked up. */
export function isLoopbackHost(hostname: string): boolean {
  return hostname.toLowerCase() === 'localhost' || contains(LOOPBACK, bareHost(hostname))
}

/** Whether an IP address only has a meaning inside a network: private, link-local, loopback. */
export function isPrivateAddress(address: string): boolean {
  return contains(PRIVATE, address)
}

/** Whether an IP address is link-local, or another address of a cloud's metadata service. False for a name. */
export function isLinkLocalAddress(address: string): boolean {
  return contains(LINK_LOCAL, address)
}

function contains(list: BlockList, address: string): boolean {
  const family = isIP(address)
  if (family === 0) return false
  // BlockList handles IPv4-mapped IPv6 addresses (::ffff:10.0.0.1) itself.
  return list.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** Whether a URL's host is in a list of `HOST` (any port) and `HOST:PORT` entries. */
export function isListed(list: readonly string[], url: URL): boolean {
  const host = url.hostname.toLowerCase()
  return list.some((entry) => {
    const wanted = authorityOf(entry)
    return wanted === host || wanted === `${host}:${portOf(url)}`
  })
}
