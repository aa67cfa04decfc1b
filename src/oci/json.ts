import * as v from 'valibot'
import { AirgapError } from '../errors.ts'

/** Deep enough for every document we know, shallow enough for every parser that reads it later. */
const MAX_DEPTH = 64

/** More than the description of the largest bundle holds, but few enough that a small document cannot fill the memory. */
const MAX_VALUES = 2_000_000

/**
 * Parses JSON that every parser reads in the same way: valid UTF-8 without a byte order mark, no half surrogate pairs,
 * no duplicate keys, no number beyond 2^53, at most 64 levels deep. Everything else is refused, because registries and
 * runtimes (written in Go) parse again what was verified here.
 *
 * @param what names the document in errors.
 * @param most how many opening brackets and commas are allowed: a text full of them takes several times its size in
 *   memory once parsed.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseStrictJson(bytes: Uint8Array, what: string, most: number = MAX_VALUES): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalid(what, 'it is not valid UTF-8')
  }
  if (/^\s*<(?:!doctype|html)/i.test(text.slice(0, 200))) throw invalid(what, 'it is an HTML page, not JSON')
  checkExtent(text, what, most)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw invalid(what, 'it is not JSON', error)
  }
  checkTokens(text, what)
  return value
}

/** Limits what `JSON.parse` will build, before it runs. The text need not be JSON. */
function checkExtent(text: string, what: string, most: number): void {
  let depth = 0
  let values = 0
  for (let at = 0; at < text.length; at += 1) {
    const first = text[at]
    if (first === '"') {
      at = endOfString(text, at) - 1
    } else if (first === '{' || first === '[') {
      depth += 1
      values += 1
      if (depth > MAX_DEPTH) throw invalid(what, `it is nested deeper than ${MAX_DEPTH} levels`)
    } else if (first === '}' || first === ']') {
      depth -= 1
    } else if (first === ',') {
      values += 1
    }
    if (values > most) throw invalid(what, `it holds more than ${most} values`)
  }
}

/**
 * Refuses what `JSON.parse` accepts but we do not: duplicate keys, halves of surrogate pairs (which Go replaces), numbers
 * that lose precision, and keys that consist of a single escape (`"\n"`, `"\u0061"`), which V8 14.6 (Node.js 26.10)
 * reads as a backslash unless they come first. Takes one pass over text that `JSON.parse` has accepted.
 */
function checkTokens(text: string, what: string): void {
  // One entry for each open bracket: the keys seen so far for an object, undefined for an array.
  const levels: (Set<string> | undefined)[] = []
  let previous = ''
  for (let at = 0; at < text.length;) {
    const start = at
    const first = text[at] ?? ''
    at += 1
    if (first === '{' || first === '[') {
      levels.push(first === '{' ? new Set() : undefined)
    } else if (first === '}' || first === ']') {
      levels.pop()
    } else if (first === '"') {
      at = endOfString(text, start)
      const keys = previous === '{' || previous === ',' ? levels.at(-1) : undefined
      const string = stringOf(text.slice(start, at))
      if (!string.isWellFormed()) throw invalid(what, 'a text in it holds half a surrogate pair')
      if (keys && string.length === 1 && at - start > 3) {
        throw invalid(
          what,
          `the key ${text.slice(start, at)} is a single escape, which parsers read differently`,
        )
      }
      if (keys?.has(string)) {
        throw invalid(what, `the key ${clip(JSON.stringify(string))} occurs twice in one object`)
      }
      keys?.add(string)
    } else if (first === '-' || (first >= '0' && first <= '9')) {
      while (at < text.length && '0123456789.eE+-'.includes(text[at] ?? ' ')) at += 1
      const part = text.slice(start, at)
      const number = Number(part)
      if (Math.abs(number) > Number.MAX_SAFE_INTEGER || !Number.isFinite(number)) {
        throw invalid(what, `the number ${part.slice(0, 40)} is beyond 2^53`)
      }
      if (Number.isInteger(number) && /[.eE]/.test(part)) {
        // Go does not decode 1e3 into an integer.
        throw invalid(what, `the whole number ${part.slice(0, 40)} is not written as one`)
      }
    } else if (first !== ',' && first !== ':') {
      // White space and the letters of true, false and null.
      continue
    }
    previous = first
  }
}

/** Where the string that begins at `start` ends: after its closing quote, or at the end of the text. */
export function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0
    while (text[quote - 1 - backslashes] === '\\') backslashes += 1
    if (backslashes % 2 === 0) return quote + 1
  }
  return text.length
}

function stringOf(token: string): string {
  return token.includes('\\') ? (JSON.parse(token) as string) : token.slice(1, -1)
}

/** Shortens foreign text for a message. */
function clip(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

/**
 * Refuses keys that differ from a known one only in case: Go's decoder reads `Layers` as `layers`, we do not.
 * The folding covers at least what Go folds (which includes U+017F and U+212A).
 *
 * @throws AirgapError `INVALID_CONTENT`
 */
export function checkKeyCase(value: object, known: readonly string[], what: string): void {
  const folded = new Map(known.map((key) => [fold(key), key]))
  for (const key of Object.keys(value)) {
    const twin = folded.get(fold(key))
    if (twin !== undefined && twin !== key) {
      throw invalid(what, `the key ${JSON.stringify(key)} differs only in case from "${twin}"`)
    }
  }
}

/**
 * Removes object members that are `null`, at any depth: readers written in Go treat them as absent, and public images
 * have them. `null` in a list stays, and no schema accepts it there. Check keys ({@link checkKeyCase}) first, because
 * in Go a `null` under another spelling of the key clears the member.
 */
export function withoutNulls(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    const elements = value.map(withoutNulls)
    return elements.every((element, i) => element === value[i]) ? value : elements
  }
  const before = Object.entries(value)
  const members = before
    .filter(([, member]) => member !== null)
    .map(([key, member]) => [key, withoutNulls(member)] as const)
  const isSame =
    members.length === before.length && members.every(([, member], i) => member === before[i]?.[1])
  return isSame ? value : Object.fromEntries(members)
}

function fold(key: string): string {
  return key.toUpperCase().toLowerCase()
}

/**
 * Checks `value` against a schema.
 * @throws AirgapError `INVALID_CONTENT`, which names the path inside the document.
 */
export function checkShape<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  what: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true })
  if (result.success) return result.output
  const issue = result.issues[0]
  const path = v.getDotPath(issue)
  throw invalid(what, path === null ? clip(issue.message) : `${clip(path)}: ${clip(issue.message)}`)
}

/** JSON with sorted keys, two-space indent and a newline at the end, so that equal values give equal bytes. */
export function canonicalJson(value: unknown): Buffer {
  const parts: Buffer[] = []
  writeCanonical(value, (part) => parts.push(part))
  return Buffer.concat(parts)
}

/** Whether `bytes` are what {@link canonicalJson} returns for the value. Does not hold the whole output in memory. */
export function isCanonicalJson(value: unknown, bytes: Uint8Array): boolean {
  let position = 0
  let isSame = true
  writeCanonical(value, (part) => {
    isSame &&= part.equals(bytes.subarray(position, position + part.length))
    position += part.length
  })
  return isSame && position === bytes.length
}

/** Characters to encode at a time. */
const PART = 64 * 1024

/** Writes piece by piece: for a large document, a sorted copy and its text would take many times its memory. */
function writeCanonical(value: unknown, sink: (part: Buffer) => void): void {
  let text = ''
  const put = (more: string): void => {
    text += more
    if (text.length < PART) return
    sink(Buffer.from(text))
    text = ''
  }
  const list = (brackets: string, indent: string, count: number, item: (i: number) => void): void => {
    put(brackets.slice(0, 1))
    for (let i = 0; i < count; i += 1) {
      put(`${i === 0 ? '' : ','}\n${indent}  `)
      item(i)
    }
    put(count === 0 ? brackets.slice(1) : `\n${indent}${brackets.slice(1)}`)
  }
  const write = (each: unknown, indent: string): void => {
    if (typeof each !== 'object' || each === null) return put(JSON.stringify(each) ?? 'null')
    const deeper = `${indent}  `
    if (Array.isArray(each)) return list('[]', indent, each.length, (i) => write(each[i], deeper))
    const members = Object.entries(each as Record<string, unknown>)
      .filter(([, member]) => member !== undefined)
      .toSorted(([a], [b]) => compareBytes(a, b))
    list('{}', indent, members.length, (i) => {
      const [key = '', member] = members[i] ?? []
      put(`${JSON.stringify(key)}: `)
      write(member, deeper)
    })
  }
  write(value, '')
  sink(Buffer.from(`${text}\n`))
}

/** Compares two texts by their UTF-8 bytes, like `LC_ALL=C sort`. */
export function compareBytes(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length)
  for (let at = 0; at < shorter; at += 1) {
    const [one, other] = [a.charCodeAt(at), b.charCodeAt(at)]
    // With surrogates, the order of code units differs from that of bytes.
    if (one >= 0xd800 || other >= 0xd800) return Buffer.compare(Buffer.from(a), Buffer.from(b))
    if (one !== other) return one - other
  }
  return a.length - b.length
}

function invalid(what: string, reason: string, cause?: unknown): AirgapError {
  return new AirgapError('INVALID_CONTENT', reason, { subject: what, cause })
}
