import * as v from 'valibot'
import { AirgapError } from '../errors.ts'

/** Deep enough for every document we know, shallow enough for every parser after us. */
const MAX_DEPTH = 64

/**
 * Parses JSON in the one way that every reader agrees on: valid UTF-8 without a byte order mark, no key twice
 * in an object, no number that does not fit a double exactly, at most 64 levels deep. Documents that two
 * parsers could read differently are refused, because what was verified here is parsed again by others
 * (registries and runtimes written in Go).
 *
 * @param what names the document in errors.
 * @throws AirgapError `INVALID_CONTENT`
 */
export function parseStrictJson(bytes: Uint8Array, what: string): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalid(what, 'it is not valid UTF-8')
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const looksLikeHtml = /^\s*<(?:!doctype|html)/i.test(text.slice(0, 200))
    throw invalid(what, looksLikeHtml ? 'it is an HTML page, not JSON' : 'it is not JSON', error)
  }
  checkTokens(text, what)
  return value
}

/**
 * One pass over text that `JSON.parse` has accepted, for what `JSON.parse` lets through: keys given twice,
 * numbers that lose precision, excessive depth.
 */
function checkTokens(text: string, what: string): void {
  const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|-?[0-9][0-9.eE+-]*/g
  // One level an open bracket: the keys seen, for an object; nothing, for an array.
  const levels: (Set<string> | undefined)[] = []
  let previous = ''
  for (let match = token.exec(text); match; match = token.exec(text)) {
    const part = match[0]
    const first = part[0]
    if (first === '{' || first === '[') {
      levels.push(first === '{' ? new Set() : undefined)
      if (levels.length > MAX_DEPTH) throw invalid(what, `it is nested deeper than ${MAX_DEPTH} levels`)
    } else if (first === '}' || first === ']') {
      levels.pop()
    } else if (first === '"') {
      const keys = levels.at(-1)
      if (keys && (previous === '{' || previous === ',')) {
        const key = JSON.parse(part) as string
        if (keys.has(key)) throw invalid(what, `the key ${JSON.stringify(key)} occurs twice in one object`)
        keys.add(key)
      }
    } else if (first !== ',' && first !== ':') {
      const number = Number(part)
      if (Math.abs(number) > Number.MAX_SAFE_INTEGER || !Number.isFinite(number)) {
        throw invalid(what, `the number ${part.slice(0, 40)} is beyond 2^53`)
      }
    }
    previous = first ?? ''
  }
}

/**
 * Refuses keys that differ from a known one only in case: Go's decoder would take `Layers` for `layers`, we
 * would not. Folding is at least as wide as Go's (which also folds U+017F and U+212A).
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

function fold(key: string): string {
  return key.toUpperCase().toLowerCase()
}

/**
 * Checks `value` against a schema.
 * @throws AirgapError with `code`, naming the path inside the document that is at fault.
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
  throw invalid(what, path === null ? issue.message : `${path}: ${issue.message}`)
}

/** JSON with sorted keys, two-space indent and a newline at the end: one byte sequence for one value. */
export function canonicalJson(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(sortKeys(value), null, 2)}\n`)
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (typeof value !== 'object' || value === null) return value
  const sorted = Object.create(null) as Record<string, unknown>
  const entries = Object.entries(value).sort(([a], [b]) => compareBytes(a, b))
  for (const [key, child] of entries) sorted[key] = sortKeys(child)
  return sorted
}

/** Bytewise order of the UTF-8 forms, as `LC_ALL=C sort` has it. */
export function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function invalid(what: string, reason: string, cause?: unknown): AirgapError {
  return new AirgapError('INVALID_CONTENT', `${what}: ${reason}`, { cause })
}
