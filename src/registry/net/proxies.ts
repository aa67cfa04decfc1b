import { AirgapError } from '../../errors.ts'
import { bareHost, isLoopbackHost, portOf } from './hosts.ts'
import { BlockList, isIP } from 'node:net'
import { domainToASCII } from 'node:url'

/** Which proxies to use, as in the environment variables of the same names. An empty text counts as none. */
export interface ProxySettings {
  /** For targets in plain HTTP: `http://[USER:PASSWORD@]HOST[:PORT]`, or https://. */
  http?: string | undefined
  /** For targets in HTTPS. */
  https?: string | undefined
  /** Hosts that are contacted directly, see {@link parseNoProxy}. */
  noProxy?: string | undefined
  /** Send loopback targets through the proxy, too. They then mean the proxy's own loopback. */
  loopback?: boolean | undefined
}

/** A forward proxy. */
export interface Proxy {
  /** `HOST:PORT`; never the user part. */
  name: string
  /** Scheme, host and port. */
  url: URL
  /** The setting it comes from, for messages: a variable's name. */
  from: string
  /** The value of Proxy-Authorization. For this proxy only; never shown. */
  authorization: string | undefined
}

/** Where the value of a setting was found. */
interface Setting {
  from: string
  value: string
}

type Found = [from: string, value: string | undefined]

/** The first that has a value. */
function first(found: readonly Found[]): Setting | undefined {
  for (const [from, value = ''] of found) if (value.trim() !== '') return { from, value }
  return undefined
}

/** Chooses the proxy for each target. */
export class Proxies {
  readonly #settings: { http: Setting | undefined; https: Setting | undefined }
  readonly #isExempt: (url: URL) => boolean
  readonly #takesLoopback: boolean
  readonly #parsed = new Map<Setting, Proxy>()

  private constructor(
    http: Setting | undefined,
    https: Setting | undefined,
    noProxy: string,
    takesLoopback: boolean,
  ) {
    this.#settings = { http, https }
    this.#isExempt = parseNoProxy(noProxy)
    this.#takesLoopback = takesLoopback
  }

  static given({ http, https, noProxy = '', loopback = false }: ProxySettings): Proxies {
    return new Proxies(
      first([['the option proxies.http', http]]),
      first([['the option proxies.https', https]]),
      noProxy,
      loopback,
    )
  }

  /**
   * Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` (the default for the other two) and `NO_PROXY`. The lower-case name
   * takes precedence. `HTTP_PROXY` in capitals is ignored where `REQUEST_METHOD` is set: a web client can set that
   * variable of a CGI program by a header (httpoxy). `AIRGAP_PROXY_LOOPBACK=1` is {@link ProxySettings.loopback}.
   */
  static fromEnvironment(env: NodeJS.ProcessEnv): Proxies {
    const isCgi = (env['REQUEST_METHOD'] ?? '') !== ''
    const all: Found[] = [
      ['all_proxy', env['all_proxy']],
      ['ALL_PROXY', env['ALL_PROXY']],
    ]
    return new Proxies(
      first([['http_proxy', env['http_proxy']], ['HTTP_PROXY', isCgi ? '' : env['HTTP_PROXY']], ...all]),
      first([['https_proxy', env['https_proxy']], ['HTTPS_PROXY', env['HTTPS_PROXY']], ...all]),
      env['no_proxy'] || env['NO_PROXY'] || '',
      env['AIRGAP_PROXY_LOOPBACK'] === '1',
    )
  }

  /**
   * The proxy for a target; undefined for a direct connection.
   * @throws AirgapError `USAGE` when the setting for it is not the address of a proxy.
   */
  for(url: URL): Proxy | undefined {
    const setting = this.#settingFor(url)
    if (setting === undefined || this.#isDirect(url)) return undefined
    let proxy = this.#parsed.get(setting)
    if (!proxy) {
      proxy = parseProxy(setting)
      this.#parsed.set(setting, proxy)
    }
    return proxy
  }

  /** Why a target has no proxy although one is set, as a sentence. */
  whyDirect(url: URL): string | undefined {
    if (isLoopbackHost(url.hostname)) return undefined
    if (this.#settingFor(url)) {
      return this.#isExempt(url) ? 'It is contacted without the proxy, because of NO_PROXY.' : undefined
    }
    const { http, https } = this.#settings
    const other = http ?? https
    return other && `${other.from} is set, but not for ${url.protocol === 'https:' ? 'HTTPS' : 'plain HTTP'}.`
  }

  #settingFor(url: URL): Setting | undefined {
    return url.protocol === 'https:' ? this.#settings.https : this.#settings.http
  }

  #isDirect(url: URL): boolean {
    // As in Go, and so in Docker and Podman: a proxy's loopback is not ours.
    if (isLoopbackHost(url.hostname) && !this.#takesLoopback) return true
    return this.#isExempt(url)
  }
}

/**
 * Reads `[http://|https://][USER[:PASSWORD]@]HOST[:PORT]`. Errors quote nothing of the text: it can hold a password,
 * and a password in a malformed text can look like any other part.
 */
function parseProxy({ from, value }: Setting): Proxy {
  const fail = (reason: string, hint?: string): never => {
    throw new AirgapError('USAGE', `${from} does not name a proxy: ${reason}`, {
      hint: hint ?? `Write ${from}=http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT. ${ENCODING}`,
    })
  }
  const text = value.trim()
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase()
  if (scheme?.startsWith('socks')) {
    return fail(
      'it is a SOCKS proxy, which airgap does not support',
      `Name an HTTP proxy (${from}=http://HOST:PORT), or list the hosts that need none in NO_PROXY.`,
    )
  }
  if (scheme !== undefined && scheme !== 'http' && scheme !== 'https') {
    return fail('it begins neither with http:// nor with https://')
  }
  let url: URL
  try {
    url = new URL(scheme === undefined ? `http://${text}` : text)
  } catch {
    return fail('it is not a valid URL')
  }
  // An unencoded / ? or # in a password ends the host early: part of the password would go to a wrong host.
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    return fail('it holds more than user, password, host and port')
  }
  let authorization: string | undefined
  try {
    authorization = basic(url)
  } catch {
    return fail('its user name or password holds a % that is not a percent-encoding')
  }
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  return { name: `${url.hostname}:${port}`, url: new URL(url.origin), from, authorization }
}

const ENCODING = 'In user name and password, @ is written %40, : %3A, / %2F, # %23, ? %3F and % %25.'

function basic({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

interface Entry {
  /** Undefined for any port. */
  port: string | undefined
  matches: (host: string, family: 0 | 4 | 6) => boolean
}

/**
 * Reads `NO_PROXY` as Go's `golang.org/x/net/http/httpproxy` does, so that it has the same meaning as for Docker,
 * Podman and kubectl. Entries are separated by commas, or by blanks as in curl:
 *
 * - `*`: no host has a proxy
 * - `10.0.0.0/8`, `fd00::/8`: addresses in that network
 * - `10.1.2.3`, `::1`, and with a port `10.1.2.3:5000`, `[::1]:5000`: that address
 * - `example.com`, `example.com:5000`: that name and all names below it
 * - `.example.com`, `*.example.com`: all names below it, but not the name itself
 *
 * Networks and addresses only match literal addresses: no name is looked up. Entries that make no sense are ignored, as
 * in other tools.
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
  // A name without an ASCII form stays as it is, and matches nothing.
  const ascii = domainToASCII(bare) || bare
  return {
    port,
    matches: (other, otherFamily) =>
      otherFamily === 0 && (other.endsWith(`.${ascii}`) || (!isBelowOnly && other === ascii)),
  }
}

/** `ADDRESS/LENGTH`; address bits after that length are ignored. */
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
  // BlockList takes all IPv4 addresses for members of ::ffff:0:0/96; a larger network only means IPv6.
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

/** How the proxy answered when it did not do as asked. */
export interface Refusal {
  status: number
  /** Its Proxy-Authenticate, if there is one. */
  challenge: string | undefined
}

/** What went wrong at the proxy; `proxy-fault.ts` words it. */
export class ProxyFault extends Error {
  readonly proxy: Proxy
  readonly refusal: Refusal | undefined

  constructor(proxy: Proxy, cause: Error | Refusal) {
    const isError = cause instanceof Error
    super('the proxy', isError ? { cause } : {})
    this.proxy = proxy
    this.refusal = isError ? undefined : cause
  }
}
