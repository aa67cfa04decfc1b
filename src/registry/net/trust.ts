import { createHash } from 'node:crypto'
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import { isListed } from './hosts.ts'
import { readCaFile, type HostTls } from './tls.ts'
import { checkKeyPair, readCertsFolder } from './certs-folders.ts'

export interface HostTrustOptions {
  /** PEM file of certificates to trust besides the default roots, for all hosts. */
  caFile?: string | undefined
  /** `HOST` or `HOST:PORT` whose certificate is not checked. */
  insecureSkipTlsVerify: readonly string[]
  /** Takes precedence over certs.d folders: for a host listed here, no folder is read. */
  hostTls?: HostTlsTable | undefined
  /** The certs.d folders, which hold one folder for each host. */
  certsRoots: readonly string[]
  env: NodeJS.ProcessEnv
  onWarning: (message: string) => void
}

/** How a host's certificate is checked, and which client certificate it gets. */
export interface HostTrust {
  /** Equal for hosts that can share a connection pool. */
  key: string
  /** Undefined where only Node's own roots count. */
  secureContext: SecureContext | undefined
  isVerified: boolean
  /** Files of CAs besides the default roots. */
  caFiles: string[]
  /** The client certificate's file, or a description of it. */
  clientCertificate: string | undefined
}

/**
 * The trust in each host. The default roots are those of Node.js, with `NODE_EXTRA_CA_CERTS`. `SSL_CERT_FILE` and
 * `caFile` add to them for all hosts, certs.d folders and {@link HostTlsTable} for one host each. Every certificate
 * given is a trust anchor, as for curl, Docker and containerd, even one that another CA has issued.
 */
export class Trusts {
  readonly #options: HostTrustOptions
  readonly #given: string[]
  #fromVariable: string[] | undefined
  readonly #contexts = new Map<string, SecureContext>()

  /** @throws AirgapError `FILE` when `caFile` cannot be used. */
  constructor(options: HostTrustOptions) {
    this.#options = options
    this.#given = options.caFile === undefined ? [] : readCaFile(options.caFile)
  }

  /** @throws AirgapError `FILE` for a file for this host that cannot be used. */
  async for(url: URL): Promise<HostTrust> {
    const own = await this.#ownOf(url)
    const isVerified = !isListed(this.#options.insecureSkipTlsVerify, url) && own.skipVerify !== true
    const { caFile, env } = this.#options
    const general = [this.#extra(), env['SSL_CERT_FILE'] ?? '', caFile ?? ''].filter((path) => path !== '')
    const ca = [...this.#fromSslCertFile(), ...this.#given, ...(own.ca ?? [])]
    const { cert, key } = own
    const secureContext = this.#context(ca, cert, key)
    return {
      key: `${isVerified ? 'checked' : 'unchecked'} ${secureContext.key}`,
      secureContext: secureContext.context,
      isVerified,
      caFiles: [...new Set([...general, ...(own.files?.ca ?? [])])],
      clientCertificate: cert === undefined ? undefined : (own.files?.cert ?? 'given by the program'),
    }
  }

  async #ownOf(url: URL): Promise<HostTls> {
    const { hostTls = {}, certsRoots, onWarning } = this.#options
    const names = Object.keys(hostTls).filter((name) => isListed([name], url))
    const own = hostTls[names.find((name) => /:[0-9]+$/.test(name)) ?? names[0] ?? '']
    if (own) {
      if (own.cert !== undefined && own.key !== undefined) {
        const path = own.files?.cert ?? `given for ${url.host}`
        checkKeyPair(own.cert, own.key, { cert: path, key: path })
      }
      return own
    }
    const found = await readCertsFolder(certsRoots, url)
    for (const warning of found?.warnings ?? []) onWarning(warning)
    return found?.tls ?? {}
  }

  /** The extra CA file, if Node.js could read it at its start. */
  #extra(): string {
    const path = this.#options.env['NODE_EXTRA_CA_CERTS'] ?? ''
    return path === '' || getCACertificates('extra').length === 0 ? '' : path
  }

  /** Read only when a host is contacted by TLS: the variable may be meant for other programs. */
  #fromSslCertFile(): string[] {
    if (this.#fromVariable) return this.#fromVariable
    const path = this.#options.env['SSL_CERT_FILE'] ?? ''
    const found = path === '' ? [] : readCaFile(path, 'SSL_CERT_FILE')
    // Most of a machine's roots are also Node's. Where all are, no context has to be made.
    const known = new Set(found.length === 0 ? [] : getCACertificates('default').map(bodyOf))
    this.#fromVariable = found.filter((certificate) => !known.has(bodyOf(certificate)))
    return this.#fromVariable
  }

  /** Made once for equal settings, and shared: reading some 150 roots takes 15 ms. */
  #context(
    ca: readonly string[],
    cert: string | undefined,
    key: string | undefined,
  ): { key: string; context: SecureContext | undefined } {
    const isDefault = ca.length === 0 && cert === undefined && this.#extra() === ''
    if (isDefault) return { key: 'default', context: undefined }
    const hash = createHash('sha256')
    for (const part of [...ca, cert ?? '', key ?? '']) hash.update(`${part.length} `).update(part)
    const name = hash.digest('hex')
    let context = this.#contexts.get(name)
    if (!context) {
      context = createSecureContext({
        ca: [...getCACertificates('default'), ...ca],
        allowPartialTrustChain: true,
        ...(cert === undefined ? {} : { cert, key }),
      })
      this.#contexts.set(name, context)
    }
    return { key: name, context }
  }
}

/** The base64 text of a PEM block. */
function bodyOf(pem: string): string {
  return pem.replace(/-----[^-]*-----|\s/g, '')
}

/** {@link HostTls} by `HOST` (any port) or `HOST:PORT`; an entry with the port takes precedence. */
export type HostTlsTable = Readonly<Record<string, HostTls>>
