import { STATUS_CODES } from 'node:http'
import { AirgapError, messageOf, systemCode, type ErrorCode } from '../errors.ts'
import type { Context } from './notices.ts'
import { parseRetryAfter } from './pressure/retry-after.ts'
import { markTransient, throwIfAborted } from './retry.ts'

/** The most that is read of an error's body. */
export const MAX_ERROR_BODY = 64 * 1024
const MAX_QUOTE = 300

/** With what a request went out, which decides what a 401 to it means. */
export type AuthState =
  | { kind: 'none' }
  | { kind: 'anonymous' }
  /** `source` says where the credentials were found; nothing where somebody has just given them. */
  | { kind: 'basic' | 'token'; source: string | undefined }

export interface FailedAnswer {
  status: number
  contentType: string
  retryAfter?: string | undefined
  /** Of the answering clock. */
  date?: string | undefined
  body: Buffer
  /** The host that answered, where a redirect led elsewhere. */
  redirectedTo?: string | undefined
  /** The host that answered, where it is the registry's token service. */
  tokenService?: string | undefined
  auth: AuthState
}

/**
 * What an answer that is not a success means, with the registry's own code and message quoted.
 * 401 is `UNAUTHORIZED` (with an accepted token: `DENIED`), 403 `DENIED`, 404 `NOT_FOUND`, 429 `RATE_LIMITED`,
 * all else `REGISTRY`. 408, 425, 429 and 5xx are marked as transient.
 */
export function statusError(answer: FailedAnswer, context: Context): AirgapError {
  const { status, redirectedTo } = answer
  const who = answeredBy(answer, context.registry)
  const name = STATUS_CODES[status]
  const quoted = quoteBody(answer)
  const said = `answers ${status}${name === undefined ? '' : ` ${name}`}${quoted === '' ? '' : ` (${quoted})`}`
  const [code, meaning, hint] = meaningOf(answer, context)
  const error = new AirgapError(code, `cannot ${context.operation}: ${meaning}${who} ${said}`, { hint })
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    return markTransient(error, { retryAfterMs: parseRetryAfter(answer.retryAfter, { date: answer.date }) })
  }
  // A signed link may have run out; asking the registry again gives a new one.
  if (redirectedTo !== undefined && (status === 401 || status === 403))
    return markTransient(error, { attempts: 2 })
  return error
}

function answeredBy({ redirectedTo, tokenService }: FailedAnswer, registry: string): string {
  if (tokenService !== undefined) return `${tokenService} (the token service of ${registry})`
  return redirectedTo === undefined ? registry : `${redirectedTo} (where ${registry} redirects to)`
}

function meaningOf(answer: FailedAnswer, context: Context): [ErrorCode, string, string?] {
  const { registry } = context
  if (answer.redirectedTo !== undefined && answer.status !== 404) return ['REGISTRY', '']
  switch (answer.status) {
    case 401:
      return unauthorized(answer.auth, registry)
    case 403:
      return [
        'DENIED',
        'permission denied: ',
        'Check that the account may do this, and that the name is right: some registries answer so for what does not exist.',
      ]
    case 404:
      return [
        'NOT_FOUND',
        'there is no such thing: ',
        'Look at the spelling of name and tag; what a lock has pinned may have been deleted since.',
      ]
    case 413:
      return [
        'REGISTRY',
        'it is too large for the registry or for a proxy in front of it: ',
        'A proxy may need a larger limit (nginx: client_max_body_size 0).',
      ]
    case 429:
      return [
        'RATE_LIMITED',
        'too many requests: ',
        `Wait, log in for a higher limit (airgap login ${registry}), or use a mirror (--mirror ${registry}=HOST).`,
      ]
    case 400:
      if (/HTTP request to an HTTPS server/i.test(answer.body.subarray(0, 500).toString('latin1'))) {
        return ['REGISTRY', 'it expects TLS: ', `Leave --plain-http out for ${registry}.`]
      }
      return ['REGISTRY', '']
    default:
      if (answer.status >= 300 && answer.status < 400) return ['REGISTRY', 'an unexpected redirect: ']
      return ['REGISTRY', '']
  }
}

function unauthorized(auth: AuthState, registry: string): [ErrorCode, string, string] {
  switch (auth.kind) {
    case 'none':
    case 'anonymous':
      return [
        'UNAUTHORIZED',
        'credentials are needed: ',
        `Log in with airgap login ${registry} (what docker login and podman login have stored is found too), or name a credentials file with --auth-file. If the image should be public, check its name: some registries answer so for what does not exist.`,
      ]
    case 'basic':
      if (auth.source === undefined) {
        return [
          'UNAUTHORIZED',
          'user name and password are not accepted: ',
          'Nothing was stored. Look at both; many registries want an access token or a robot account in place of the password.',
        ]
      }
      return [
        'UNAUTHORIZED',
        `the credentials from ${auth.source} are not accepted: `,
        `Log in again with airgap login ${registry}, or name another credentials file with --auth-file.`,
      ]
    case 'token':
      return [
        'DENIED',
        `permission denied to the account${auth.source === undefined ? '' : ` from ${auth.source}`}: `,
        'Check that the account may do this, and that the name is right: some registries answer so for what does not exist.',
      ]
  }
}

/** The first errors of an OCI error body (distribution-spec § Error Codes), or what else the body shows, in one line. */
function quoteBody({ body, contentType }: FailedAnswer): string {
  const text = body.toString('utf8')
  if (isHtml(contentType, text))
    return 'an HTML page, which no registry sends: a proxy or login page may stand in front'
  try {
    const { errors } = JSON.parse(text) as { errors?: unknown }
    if (Array.isArray(errors)) {
      return oneLine(errors.slice(0, 3).map(quoteEntry).filter(Boolean).join('; '))
    }
  } catch {
    // Not JSON: quoted as it is, below.
  }
  return oneLine(text)
}

function quoteEntry(entry: unknown): string {
  if (typeof entry !== 'object' || entry === null) return ''
  const { code, message } = entry as { code?: unknown; message?: unknown }
  return [code, message].filter((part) => typeof part === 'string' && part !== '').join(': ')
}

/** Whether a body is a web page rather than what a registry sends. */
function isHtml(contentType: string, text: string): boolean {
  return /^text\/html\b/i.test(contentType) || /^\s*<(?:!doctype|html)\b/i.test(text.slice(0, 200))
}

/** Foreign text as one short printable line. */
export function oneLine(text: string): string {
  const clean = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim()
  return clean.length > MAX_QUOTE ? `${clean.slice(0, MAX_QUOTE)}…` : clean
}

const UNKNOWN_CA = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_UNTRUSTED',
])

/** How often a peer is asked that is not there at all: an unreachable host should be reported soon. */
const UNREACHABLE_ATTEMPTS = 3

const UNREACHABLE: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there (connection refused)',
  ENOTFOUND: 'its host name is not known (DNS)',
  EHOSTUNREACH: 'its host cannot be reached',
  ENETUNREACH: 'its network cannot be reached',
  ETIMEDOUT: 'the connection timed out',
  UND_ERR_CONNECT_TIMEOUT: 'the connection timed out',
}

const BROKEN: Record<string, string> = {
  EAI_AGAIN: 'its host name could not be looked up just now (DNS)',
  ECONNRESET: 'the connection was reset',
  ECONNABORTED: 'the connection was aborted',
  EPIPE: 'the connection was closed',
  UND_ERR_SOCKET: 'the connection was closed before the answer was complete',
  UND_ERR_HEADERS_TIMEOUT: 'it stopped answering',
  UND_ERR_BODY_TIMEOUT: 'it stopped sending',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the answer was not as long as announced',
}

/**
 * What a failure below HTTP means: `NETWORK` or `TLS`, in a plain sentence. Connection faults are marked as
 * transient, certificate faults are not. Errors that are ours already pass through.
 */
export function transportError(
  error: unknown,
  context: Context,
  host: string,
  signal?: AbortSignal,
): AirgapError {
  if (error instanceof AirgapError) return error
  throwIfAborted(signal, context)
  const code = systemCode(error) ?? ''
  const begin = `cannot ${context.operation}: ${host === context.registry ? host : `${host} (for ${context.registry})`}`
  const network = (reason: string, attempts?: number): AirgapError =>
    markTransient(
      new AirgapError('NETWORK', `${begin}: ${reason}`, {
        hint:
          attempts === undefined
            ? undefined
            : 'Check the name, the port and the way there (DNS, firewall, proxy).',
        cause: error,
      }),
      { attempts },
    )
  const unreachable = UNREACHABLE[code]
  if (unreachable !== undefined) return network(unreachable, UNREACHABLE_ATTEMPTS)
  const broken = BROKEN[code]
  if (broken !== undefined) return network(broken)
  const tls = tlsFault(code, error, host)
  if (tls) return new AirgapError('TLS', `${begin}: ${tls[0]}`, { hint: tls[1], cause: error })
  if (code.startsWith('HPE_') || code === 'UND_ERR_HEADERS_OVERFLOW') {
    return new AirgapError('REGISTRY', `${begin}: it does not answer with proper HTTP (${code})`, {
      cause: error,
    })
  }
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED') {
    return new AirgapError('INTERRUPTED', `${begin}: the connection was given up`, { cause: error })
  }
  const reason = oneLine(messageOf(error))
  if (/^E[A-Z]+$/.test(code)) return network(`${reason} (${code})`)
  return new AirgapError('NETWORK', `${begin}: ${reason}`, { cause: error })
}

function tlsFault(code: string, error: unknown, host: string): [string, string?] | undefined {
  if (UNKNOWN_CA.has(code)) {
    return [
      `its certificate is signed by an authority that is not trusted here (${code})`,
      'Give the authority that has signed it as a PEM file with --ca-file FILE; if one was given, it is another one.',
    ]
  }
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return ['its certificate has expired', 'Have the certificate renewed; check the clock of this machine.']
    case 'CERT_NOT_YET_VALID':
      return ['its certificate is not valid yet', 'Check the clock of this machine.']
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return [
        `its certificate is for another name${certificateNames(error)}`,
        'Use the name that the certificate holds, or have one issued for this name.',
      ]
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return [
        'it does not speak TLS on this port',
        `If it is meant to speak plain HTTP, allow that with --plain-http ${host}`,
      ]
  }
  if (/^(?:ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|EPROTO$)/.test(code)) {
    return [
      `TLS failed (${code})`,
      'If its certificate comes from a private authority, give that with --ca-file FILE.',
    ]
  }
  return undefined
}

function certificateNames(error: unknown): string {
  const { cert } = error as { cert?: { subjectaltname?: unknown } }
  return typeof cert?.subjectaltname === 'string' ? ` (${oneLine(cert.subjectaltname)})` : ''
}
