import type { Hint, Hints } from '../../hints.ts'
/** Causes and ways out that several places name. */

/** Many registries say so of a repository that is not there, too; `pack/resolve-images.ts` finds out. */
export const NO_SUCH_TAG = 'the registry has no such tag or digest'
export const NO_SUCH_REPOSITORY = 'the registry has no repository of this name'

export const NO_REGISTRY =
  'Look at host and port: a web interface often has another name or port than the registry.'

export const CAPTIVE_PAGE =
  'A login page, proxy or firewall stands in front of it, or the host is not a registry: `curl -i https://HOST/v2/` shows who answers. A registry answers {} or a 401 there.'

export const REDIRECT_LOOP =
  'Registry and proxy send each other in a circle, often because the proxy ends TLS and the registry does not know it: have it send X-Forwarded-Proto.'

export const LOST_SCHEME: Hints = [
  'A proxy in front of the registry probably hides that it was spoken to over HTTPS: have it send X-Forwarded-Proto, or set http.relativeurls in docker-registry.',
  { id: 'plain-http', host: undefined },
]

export const LARGE_MANIFEST =
  'No registry is known to take that much. Look whether the name is that of an image.'

/** @param host where the bytes came from. */
export function damagedHint(host: string): Hint[] {
  return [
    `Run the same command again. If it comes back, the blob is damaged at ${host}, or a proxy or virus scanner on the way changes it.`,
    { id: 'take-elsewhere' },
  ]
}

export const TOKEN_SERVICE =
  "The registry sends clients to a service for tokens, which has to answer with one: look at the registry's setting of its address (realm), and at what stands in front of it."

const MAX_QUOTE = 300
/** Of a detail, from its beginning and from its end each: the cause comes last, behind a long path. */
const MAX_DETAIL_PART = 110
const MAX_TITLE = 80

/** Foreign text as one short printable line. */
export function oneLine(text: string, most = MAX_QUOTE): string {
  const clean = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim()
  return clean.length > most ? `${clean.slice(0, most)}…` : clean
}

/** The same between quotation marks, of which there are none inside: where they end, our words go on. */
export function quoted(text: string, most = MAX_QUOTE): string {
  return `"${oneLine(text, most).replaceAll('"', "'")}"`
}

/** What the body of an answer says, which is not a success. */
export interface Said {
  /** For parentheses, quoted; empty when there is nothing to quote. */
  text: string
  /** The codes of an OCI error body. They are somebody else's: good for comparing with, and for nothing else. */
  codes: ReadonlySet<string>
  /** Everything that was said, to look for known words in. */
  words: string
  isPage: boolean
}

/** Reads the first errors of an OCI error body (distribution-spec § Error Codes), or what else the body shows. */
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

/** The detail is quoted where it is a sentence: registries put there why their storage failed, or the digest missed. */
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

/** Whether a body is a web page rather than what a registry sends. */
function isHtml(contentType: string, text: string): boolean {
  return /^text\/html\b/i.test(contentType) || /^\s*<(?:!doctype|html)\b/i.test(text.slice(0, 200))
}

/** What a page is called tells who has answered: a login page, a firewall, a web server. */
export function pageText(page: string): string {
  const title = oneLine(/<title[^>]{0,200}>([^<]{1,400})/i.exec(page)?.[1] ?? '', MAX_TITLE)
  return `an HTML page${title === '' ? '' : ` titled ${quoted(title)}`}, which no registry sends`
}
