import { AirgapError } from '../../errors.ts'
import { bareHost, isLoopbackHost, portOf } from './hosts.ts'
import { BlockList, isIP } from 'node:net'
import { domainToASCII } from 'node:url'

/** Which proxies to use, as the environment variables of the same names say it. An empty text is as good as none. */
export interface ProxySettings {
  /** For targets in plain HTTP: `http://[USER:PASSWORD@]HOST[:PORT]`, or https://. */
  http?: string | undefined
  /** For targets in HTTPS. */
  https?: string | undefined
  /** Hosts that are contacted directly, see {@link parseNoProxy}. */
  noProxy?: string | undefined
  /** Loopback targets go through the proxy, too; they are meant as the proxy understands them then. */
  loopback?: boolean | undefined
}

/** A forward proxy. */
export interface Proxy {
  /** `HOST:PORT`; never the user part. */
  name: string
  /** Scheme, host and port. */
  url: URL
  /** What it was taken from, for messages: a variable's name. */
  from: string
  /** The value of Proxy-Authorization. For this proxy only, and for no message. */
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
   * Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` (for what the other two do not say) and `NO_PROXY`. The name in
   * lower case comes first. `HTTP_PROXY` in capitals is left alone where `REQUEST_METHOD` is set: to a CGI program a
   * web client can give such a variable as a header (httpoxy). `AIRGAP_PROXY_LOOPBACK=1` is {@link ProxySettings.loopback}.
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
   * The proxy for a target; undefined where it is contacted directly.
   * @throws AirgapError `USAGE` when a setting that counts for it is no proxy's address.
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

  /** Why a target has no proxy, where there is one that somebody could have meant for it: a sentence. */
  whyDirect(url: URL): string | undefined {
    if (isLoopbackHost(url.hostname)) return undefined
    if (this.#settingFor(url)) {
      return this.#isExempt(url) ? 'It is contacted without the proxy, because NO_PROXY says so.' : undefined
    }
    const { http, https } = this.#settings
    const other = http ?? https
    return other && `${other.from} is set, but not for ${url.protocol === 'https:' ? 'HTTPS' : 'plain HTTP'}.`
  }

  #settingFor(url: URL): Setting | undefined {
    return url.protocol === 'https:' ? this.#settings.https : this.#settings.http
  }

  #isDirect(url: URL): boolean {
    // Go has it so, and with it Docker and Podman: to a proxy its own loopback is another one than ours.
    if (isLoopbackHost(url.hostname) && !this.#takesLoopback) return true
    return this.#isExempt(url)
  }
}

/**
 * Reads `[http://|https://][USER[:PASSWORD]@]HOST[:PORT]`. Nothing of the text is in an error: it can hold a password,
 * and one that is written wrong can look like any other part.
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
      'it is a SOCKS proxy, which airgap does not speak to',
      `Name an HTTP proxy (${from}=http://HOST:PORT), or the hosts that need none in NO_PROXY.`,
    )
  }
  if (scheme !== undefined && scheme !== 'http' && scheme !== 'https') {
    return fail('it begins neither with http:// nor with https://')
  }
  let url: URL
  try {
    url = new URL(scheme === undefined ? `http://${text}` : text)
  } catch {
    return fail('it is no web address')
  }
  // An unencoded / ? or # in a password ends the host early: the wrong host would be asked, and be told of it.
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    return fail('there is more in it than user, password, host and port')
  }
  let authorization: string | undefined
  try {
    authorization = basic(url)
  } catch {
    return fail('its user name or password holds a % that encodes nothing')
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
