import { AirgapError, messageOf, systemCode } from '../../errors.ts'
import { shellWord } from '../../text.ts'
import { formatDuration } from '../../bytes.ts'
import { during, type Context } from '../notices.ts'
import { LinkLocalFault } from '../net/name-guard.ts'
import { SlowPeerFault } from '../net/throttle/slowness.ts'
import { throwIfAborted } from '../net/retry.ts'
import { type PresentedCertificates, tlsFault } from './tls.ts'
import { oneLine } from './quote.ts'
import type { Hint, Hints } from '../../hints.ts'

/** Attempts for a host that cannot be reached at all: that should be reported soon. */
const UNREACHABLE_ATTEMPTS = 3

/** What the transport knows about a connection that failed. */
export interface ConnectionFacts {
  /** How long the peer may send nothing. */
  stallMs?: number | undefined
  scheme?: string | undefined
  /** The peer's certificates, if they were refused. */
  presented?: PresentedCertificates | undefined
}

interface Fault {
  reason: string
  hint?: Hints | undefined
  /** The most attempts, where that is fewer than the policy's. */
  attempts?: number
  isStall?: true
}

/**
 * The error for a failure below HTTP: `NETWORK` or `TLS`, as a plain sentence, with the well-known code in parentheses.
 * Connection errors are marked as transient, certificate errors are not. Errors that are already ours are passed on.
 */
export function transportError(
  error: unknown,
  context: Context,
  host: string,
  signal?: AbortSignal,
  facts: ConnectionFacts = {},
): AirgapError {
  if (error instanceof AirgapError) return error
  throwIfAborted(signal, context)
  const code = systemCode(error) ?? ''
  const begin = host === context.registry ? host : `${host} (for ${context.registry})`
  if (error instanceof LinkLocalFault) {
    const what = error.address === undefined ? 'it is' : `its name leads to ${error.address},`
    return new AirgapError(
      'REGISTRY',
      `${begin}: ${what} a link-local address, where clouds keep the secrets of this machine`,
      {
        ...during(context),
        hint: 'Nothing was sent there. No registry has a reason to send clients there: tell the operator of this one, of the proxy in front of it, or of DNS.',
        cause: error,
      },
    )
  }
  const network =
    unreachable(code, error, host) ?? stalled(code, error, facts) ?? broken(code, error, host, facts)
  if (network) {
    const { reason, hint, attempts, isStall } = network
    return new AirgapError('NETWORK', `${begin}: ${reason}`, {
      ...during(context),
      hint,
      cause: error,
    }).with({
      transience: {
        attempts,
        isStall,
      },
    })
  }
  const tls = tlsFault(code, error, host, facts.presented)
  if (tls)
    return new AirgapError('TLS', `${begin}: ${tls.cause}`, {
      ...during(context),
      hint: tls.hint,
      cause: error,
    })
  if (code.startsWith('HPE_') || code === 'UND_ERR_HEADERS_OVERFLOW' || isParserError(error)) {
    return new AirgapError('REGISTRY', `${begin}: it does not answer with proper HTTP${inBrackets(code)}`, {
      ...during(context),
      hint:
        facts.scheme === 'http:'
          ? [{ id: 'no-plain-http', host }, 'Otherwise check the port.']
          : 'Check host and port: something else than a registry listens there.',
      cause: error,
    })
  }
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED') {
    return new AirgapError('INTERRUPTED', `${begin}: the connection was given up`, {
      ...during(context),
      cause: error,
    })
  }
  const reason = oneLine(messageOf(error))
  const other = new AirgapError(
    'NETWORK',
    `${begin}: ${reason}${/^E[A-Z]+$/.test(code) ? ` (${code})` : ''}`,
    { ...during(context), cause: error },
  )
  return /^E[A-Z]+$/.test(code) ? other.with({ transience: {} }) : other
}

function inBrackets(code: string): string {
  return code === '' ? '' : ` (${code})`
}

/** undici's error for an answer that is not HTTP does not always have a code. */
function isParserError(error: unknown): boolean {
  return error instanceof Error && error.name === 'HTTPParserError'
}

function unreachable(code: string, error: unknown, host: string): Fault | undefined {
  const name = nameOf(host)
  const attempts = UNREACHABLE_ATTEMPTS
  switch (code) {
    case 'ECONNREFUSED':
      return {
        reason: `nothing listens there (connection refused, ${code})`,
        hint: `Check host and port (without one it is 443), and whether the registry runs: \`ss -ltn\` on its machine shows what listens. A firewall can also refuse.`,
        attempts,
      }
    case 'ENOTFOUND':
      return {
        reason: `its host name is not known (DNS, ${code})`,
        hint: [
          `Check the spelling; \`getent hosts ${shellWord(name)}\` looks it up as this program does. Without DNS, put the name into /etc/hosts. If only a proxy has access to the outside, set HTTPS_PROXY; if nothing has, use a mirror inside.`,
          { id: 'mirror', registry: name },
        ],
        attempts,
      }
    case 'EAI_AGAIN':
      return {
        reason: `its host name could not be looked up just now (DNS, ${code})`,
        hint: `The name server does not answer: check /etc/resolv.conf, or put ${name} into /etc/hosts. If only a proxy has access to the outside, set HTTPS_PROXY.`,
        attempts,
      }
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return {
        reason: `there is no route to it from here (${code})`,
        hint: [
          "Check this machine's network (`ip route`), and whether it should go through a proxy (HTTPS_PROXY) or a mirror.",
          { id: 'mirror', registry: host },
        ],
        attempts,
      }
    case 'ETIMEDOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
      return {
        reason: `no connection could be made${afterText(error)} (${code})`,
        hint: [
          `Something drops the packets, mostly a firewall: have ${host} opened for this machine, or go through a proxy (HTTPS_PROXY) or a mirror. \`curl -v ${shellWord(`https://${host}/v2/`)}\` shows the same.`,
          { id: 'mirror', registry: host },
        ],
        attempts,
      }
  }
  return undefined
}

/** undici only says in its message how long it has waited. */
function afterText(error: unknown): string {
  const ms = /timeout: ([0-9]{1,9})ms/.exec(messageOf(error))?.[1]
  return ms === undefined ? '' : ` within ${formatDuration(Number(ms))}`
}

/** Host name without the port, for commands that take a name. */
function nameOf(host: string): string {
  return host.replace(/:[0-9]+$/, '')
}

const LATER: readonly Hint[] = [
  'Run the same command again; if it happens again, look for a firewall, proxy or load balancer on the way that ends long connections.',
  { id: 'fewer-transfers' },
]

function broken(code: string, error: unknown, host: string, facts: ConnectionFacts): Fault | undefined {
  const plain: Hint[] = facts.scheme === 'http:' ? [{ id: 'no-plain-http', host }] : []
  switch (code) {
    case 'ECONNRESET':
      if (/before secure TLS connection/.test(messageOf(error))) {
        return {
          reason: `the connection was closed before TLS was agreed on (${code})`,
          hint: [
            `Something on the way may not let TLS to ${host} through (a firewall, a proxy that should be used: HTTPS_PROXY), or the server there does not speak TLS.`,
            { id: 'plain-http', host },
          ],
        }
      }
      return { reason: `the connection was reset (${code})`, hint: [...plain, ...LATER] }
    case 'ECONNABORTED':
      return { reason: `the connection was aborted (${code})`, hint: LATER }
    case 'EPIPE':
      return { reason: `the connection was closed (${code})`, hint: LATER }
    case 'UND_ERR_SOCKET':
      return {
        reason: `the connection was closed before the answer was complete (${code})`,
        hint: [...plain, ...LATER],
      }
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return { reason: `the answer was not as long as announced (${code})`, hint: LATER }
  }
  return undefined
}

/** A peer that is connected, but sends nothing or too little. */
function stalled(code: string, error: unknown, facts: ConnectionFacts): Fault | undefined {
  const stall = (reason: string): Fault => ({ reason, hint: LATER, isStall: true })
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return stall(`it stopped answering${silence(facts)} (${code})`)
  if (code === 'UND_ERR_BODY_TIMEOUT') return stall(`it stopped sending${silence(facts)} (${code})`)
  if (!(error instanceof SlowPeerFault)) return undefined
  const { bytes, waitedMs } = error
  if (waitedMs === 0) return stall('it keeps sending interim answers (1xx), and no final one')
  return stall(
    `it sends too slowly: ${bytes.toLocaleString('en-US')} bytes within ${formatDuration(waitedMs)}`,
  )
}

function silence({ stallMs }: ConnectionFacts): string {
  return stallMs === undefined ? '' : `: nothing came for ${formatDuration(stallMs)}`
}
