import type { Hint, Hints } from '../../hints.ts'
/** Causes and hints that are used in several places. */

/** Many registries also say this if the repository does not exist; `pack/resolve-images.ts` finds out. */
export const NO_SUCH_TAG = 'the registry has no such tag or digest'
export const NO_SUCH_REPOSITORY = 'the registry has no repository of this name'

export const NO_REGISTRY =
  'Check host and port: a web interface often has another name or port than the registry.'

export const CAPTIVE_PAGE =
  'A login page, proxy or firewall is in front of it, or the host is not a registry: `curl -i https://HOST/v2/` shows who answers. A registry answers {} or a 401 there.'

export const REDIRECT_LOOP =
  'Registry and proxy redirect to each other in a loop, often because the proxy ends TLS and the registry does not know it: have it send X-Forwarded-Proto.'

export const LOST_SCHEME: Hints = [
  'A proxy in front of the registry probably hides that the client used HTTPS: have it send X-Forwarded-Proto, or set http.relativeurls in docker-registry.',
  { id: 'plain-http', host: undefined },
]

export const LARGE_MANIFEST =
  'No registry is known to accept that much. Check whether this is the name of an image.'

/** @param host where the bytes came from. */
export function damagedHint(host: string): Hint[] {
  return [
    `Run the same command again. If it happens again, the blob is damaged at ${host}, or a proxy or virus scanner on the way changes it.`,
    { id: 'take-elsewhere' },
  ]
}

export const TOKEN_SERVICE =
  "The registry sends clients to a token service, which has to answer with a token: check the service's address in the registry's settings (realm), and what is in front of the service."

const MAX_QUOTE = 300
/** The length of the beginning and of the end of a detail: the cause comes last, after a long path. */
const MAX_DETAIL_PART = 110
const MAX_TITLE = 80

/** Text from outside as one short printable line. */
export function oneLine(text: string, most = MAX_QUOTE): string {
  const clean = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim()
  return clean.length > most ? `${clean.slice(0, most)}…` : clean
}

/** The same in quotation marks, with none inside: so it is clear where the quote ends. */
export function quoted(text: string, most = MAX_QUOTE): string {
  return `"${oneLine(text, most).replaceAll('"', "'")}"`
}

/** What the body of a failed answer says. */
export interface Said {
  /** For parentheses, quoted; empty when there is nothing to quote. */
  text: string
  /** The codes of an OCI error body. Only for comparing: they come from outside. */
  codes: ReadonlySet<string>
  /** The whole text, to search it for known words. */
  words: string
  isPage: boolean
}

/** Reads the first errors of an OCI error body (distribution-spec § Error Codes), or whatever else the body holds. */
export function readSaid(body: Buffer, contentType: string): Said {
  const words = body.toString('utf8')
  if (isHtml(contentType, words)) return { text: pageText(words), codes: new Set(), words, isPage: true }
  const entries = entriesIn(words)
    ?.slice(0, 3)
    .filter((entry): entry is ErrorEntry => typeof entry === 'object' && entry !== null)
  if (entries === undefined) {
    const line = oneLine(words)
    return { text: line === '' ? '' : quoted(words), codes: new Set(), words, isPage: false }
  }
  const codes = new Set(entries.flatMap(({ code }) => (typeof code === 'string' ? [code.toUpperCase()] : [])))
  const parts = entries.map(entryText).filter(Boolean)
  return { text: parts.length === 0 ? '' : quoted(parts.join('; ')), codes, words, isPage: false }
}

interface ErrorEntry {
  code?: unknown
  message?: unknown
  detail?: unknown
}

/** The entries of an OCI error body, whatever they are; undefined when the body is not of that form. */
export function entriesIn(words: string): unknown[] | undefined {
  try {
    const { errors } = JSON.parse(words) as { errors?: unknown }
    return Array.isArray(errors) ? errors : undefined
  } catch {
    // Not JSON, or nothing that has members.
    return undefined
  }
}

/** A detail that is a sentence is quoted: registries say there why their storage failed, or which digest was wrong. */
function entryText({ code, message, detail }: ErrorEntry): string {
  const parts = [code, message].filter((part): part is string => typeof part === 'string' && part !== '')
  const text = parts.join(': ')
  if (typeof detail !== 'string' || detail === '' || detail === message) return text
  return [text, shortened(oneLine(detail, detail.length))].filter(Boolean).join(': ')
}

function shortened(line: string): string {
  if (line.length <= 2 * MAX_DETAIL_PART) return line
  return `${line.slice(0, MAX_DETAIL_PART)}…${line.slice(-MAX_DETAIL_PART)}`
}

/** Whether a body is a web page, which no registry sends. */
function isHtml(contentType: string, text: string): boolean {
  return /^text\/html\b/i.test(contentType) || /^\s*<(?:!doctype|html)\b/i.test(text.slice(0, 200))
}

/** Quotes a page's title, which tells who has answered: a login page, a firewall, a web server. */
export function pageText(page: string): string {
  const title = oneLine(/<title[^>]{0,200}>([^<]{1,400})/i.exec(page)?.[1] ?? '', MAX_TITLE)
  return `an HTML page${title === '' ? '' : ` titled ${quoted(title)}`}, which no registry sends`
}
