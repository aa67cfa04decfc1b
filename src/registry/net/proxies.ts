import { AirgapError } from '../../errors.ts'
import { isLoopbackHost } from './hosts.ts'
import { parseNoProxy } from './no-proxy.ts'

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
