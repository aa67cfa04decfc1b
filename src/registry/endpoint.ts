import type { LookupFunction } from 'node:net'
import { connect } from 'node:tls'
import { AirgapError, systemCode } from '../errors.ts'
import { authorityOf, bareHost, isListed, isLoopbackHost, portOf } from './net/hosts.ts'

/** Where a registry is contacted. */
export interface Endpoint {
  registry: string
  /** Scheme, host and port: the one origin that gets this registry's credentials. */
  url: URL
  /** Whether it is plain HTTP because the user allowed it, not because a loopback peer does not speak TLS. */
  plainAllowed: boolean
}

export interface EndpointOptions {
  plainHttp: readonly string[]
  /** Hosts to reach by plain HTTP if they do not speak TLS. */
  insecure?: readonly string[]
  probe?: typeof speaksTls
  /** Ends running probes. */
  signal?: AbortSignal | undefined
}

const PROBE_TIMEOUT_MS = 10_000
const NO_TLS = new Set(['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG'])

/** Finds and remembers how each registry is reached. */
export class Endpoints {
  readonly #options: EndpointOptions
  readonly #known = new Map<string, Promise<Endpoint>>()

  constructor(options: EndpointOptions) {
    this.#options = options
  }

  /**
   * HTTPS, except for hosts for which plain HTTP was allowed, and for literal loopback hosts that do not speak TLS. A
   * certificate error never leads to plain HTTP: the probe for TLS does not look at certificates.
   * @throws Node's connection errors, from the probe of a loopback host.
   */
  resolve(registry: string): Promise<Endpoint> {
    const authority = authorityOf(registry)
    const known = this.#known.get(authority)
    if (known) return known
    const found = this.#find(registry, authority)
    this.#known.set(authority, found)
    // A failure is not remembered: the next attempt tries again.
    found.catch(() => this.#known.delete(authority))
    return found
  }

  async #find(registry: string, authority: string): Promise<Endpoint> {
    const { plainHttp, insecure = [], signal, probe = speaksTls } = this.#options
    const plain = originUrl('http', authority)
    const secure = originUrl('https', authority)
    const loopback = isLoopbackHost(plain.hostname)
    if (isListed(plainHttp, plain)) return { registry, url: plain, plainAllowed: true }
    if (isListed(insecure, secure)) {
      const hasTls = await probe(bareHost(secure.hostname), Number(portOf(secure)), undefined, signal).catch(
        (error: unknown) => {
          // Without a port in the name, plain HTTP uses another port than TLS.
          if (secure.port === '' && signal?.aborted !== true) return false
          throw error
        },
      )
      return { registry, url: hasTls ? secure : plain, plainAllowed: !hasTls }
    }
    if (loopback && !(await probe(bareHost(secure.hostname), Number(portOf(secure)), undefined, signal))) {
      return { registry, url: plain, plainAllowed: false }
    }
    return { registry, url: secure, plainAllowed: false }
  }
}

function originUrl(scheme: 'http' | 'https', authority: string): URL {
  try {
    return new URL(`${scheme}://${authority}`)
  } catch (error) {
    throw new AirgapError('INVALID_REFERENCE', `${JSON.stringify(authority)} is not a registry host`, {
      cause: error,
    })
  }
}

/**
 * Whether the peer answers a TLS greeting with TLS. Certificates are not checked here, and nothing is sent.
 * @throws Node's connection errors when there is no peer or it does not answer in time; the signal's reason.
 */
export function speaksTls(
  host: string,
  port: number,
  timeoutMs = PROBE_TIMEOUT_MS,
  signal?: AbortSignal,
  lookup?: LookupFunction,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    let ended = false
    // This connection only tests for TLS. It is closed before anything is sent.
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
      ...(lookup === undefined ? {} : { lookup }),
    })
    const settle = (action: () => void): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', giveUp)
      socket.destroy()
      action()
    }
    const giveUp = (): void => settle(() => reject(signal?.reason as Error))
    signal?.addEventListener('abort', giveUp, { once: true })
    const timer = setTimeout(() => {
      const error = new Error(`no answer from ${host}:${port}`)
      settle(() => reject(Object.assign(error, { code: 'ETIMEDOUT' })))
    }, timeoutMs)
    socket.once('secureConnect', () => settle(() => resolve(true)))
    socket.once('end', () => {
      ended = true
    })
    socket.on('error', (error) => {
      const code = systemCode(error) ?? ''
      const hungUp = socket.bytesRead === 0 && (ended || /before secure TLS connection/.test(error.message))
      if (NO_TLS.has(code) || hungUp) settle(() => resolve(false))
      // An alert or any other TLS error comes from a peer that speaks TLS.
      else if (code.startsWith('ERR_SSL_')) settle(() => resolve(true))
      else settle(() => reject(error))
    })
  })
}
