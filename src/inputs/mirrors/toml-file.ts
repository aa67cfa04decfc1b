import { parse, TomlError } from 'smol-toml'
import { AirgapError } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'

/** A path in a TOML document: names of keys, and indexes in arrays of tables. */
type TomlPath = readonly (string | number)[]

interface TomlPlace {
  /** Line and column count from 1. */
  line: number
  column: number
}

const KEY_PART = /[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*/y

/** Longer lines and keys are ignored. The keys that are read are never that long. */
const MAX_LINE = 4096
const MAX_PARTS = 8

/**
 * The places of keys in a valid TOML text, only for messages. Values are not parsed: anything inside a value has the
 * place of the value's key.
 */
export class TomlPlaces {
  readonly #places = new Map<string, TomlPlace>()

  constructor(text: string) {
    const counts = new Map<string, number>()
    let table: string[] = []
    let inString: string | undefined
    for (const [i, line] of text.split('\n').entries()) {
      if (inString !== undefined) {
        if (line.includes(inString)) inString = undefined
        continue
      }
      const header = /^[ \t]*\[(\[?)/.exec(line)
      const keys = line.length > MAX_LINE ? undefined : keysOf(line, header?.[0].length ?? 0)
      if (!keys) continue
      if (header) {
        const key = JSON.stringify(keys)
        if (header[1] !== '') counts.set(key, (counts.get(key) ?? -1) + 1)
        table = withIndexes(keys, counts)
      } else {
        inString = ['"""', "'''"].find((quotes) => line.split(quotes).length === 2)
      }
      this.#add(header ? table : [...table, ...keys], { line: i + 1, column: line.search(/\S/) + 1 })
    }
  }

  /** The place of a key; if it is not known, that of the innermost known table around it. */
  of(path: TomlPath): TomlPlace | undefined {
    for (let length = Math.min(path.length, 2 * MAX_PARTS); length > 0; length--) {
      const found = this.#places.get(JSON.stringify(path.slice(0, length).map(String)))
      if (found) return found
    }
    return undefined
  }

  /** Adds a place. A table without a known place gets that of its first key. */
  #add(path: readonly string[], place: TomlPlace): void {
    for (let length = 1; length <= path.length; length++) {
      const key = JSON.stringify(path.slice(0, length))
      if (!this.#places.has(key)) this.#places.set(key, place)
    }
  }
}

/** The dotted key at a position in a line. */
function keysOf(line: string, from: number): string[] | undefined {
  const keys: string[] = []
  KEY_PART.lastIndex = from
  while (keys.length < MAX_PARTS) {
    const part = KEY_PART.exec(line)
    if (!part) return undefined
    keys.push(part[1] ?? part[2] ?? part[3] ?? '')
    const next = line[KEY_PART.lastIndex]
    if (next !== '.') return next === ']' || next === '=' ? keys : undefined
    KEY_PART.lastIndex += 1
  }
  return undefined
}

/** A table's name with the current index after each part that is an array of tables. */
function withIndexes(keys: readonly string[], counts: ReadonlyMap<string, number>): string[] {
  return keys.flatMap((key, i) => {
    const count = counts.get(JSON.stringify(keys.slice(0, i + 1)))
    return count === undefined ? [key] : [key, String(count)]
  })
}

/** In bytes. A thousand times what people write by hand. */
export const MAX_MIRROR_FILE = 1024 * 1024

/** Maximum nesting of arrays and inline tables. */
const MAX_DEPTH = 16

/** The error for a fault in a file. */
export function invalid(place: string, message: string, hint?: string): AirgapError {
  return new AirgapError('INVALID_CONFIG', `${place}: ${message}`, { hint })
}

/**
 * Reads a TOML 1.0 file.
 * @throws AirgapError `FILE`; `INVALID_CONFIG` with line and column if it is not valid TOML, also for a key that is
 *   given twice.
 */
export async function readTomlFile(path: string): Promise<TomlSection> {
  const bytes = await readSmallFile(path, MAX_MIRROR_FILE)
  let text: string
  try {
    // This drops a UTF-8 byte order mark.
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw invalid(path, 'it is not UTF-8 text')
  }
  try {
    const table = parse(text, {
      maxDepth: MAX_DEPTH,
      unsafeKeyBehaviour: 'throw',
      integersAsBigInt: 'asNeeded',
    })
    return new TomlSection(new TomlFile(path, text), table, [])
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const [reason = ''] = error.message.replace(/^Invalid TOML document: /, '').split('\n')
    throw invalid(`${path}:${error.line}:${error.column}`, `it is not TOML: ${reason}`)
  }
}

type Table = Record<string, unknown>

/** A parsed file, and the places of its keys, which are found when first needed. */
class TomlFile {
  readonly path: string
  readonly #text: string
  #places: TomlPlaces | undefined

  constructor(path: string, text: string) {
    this.path = path
    this.#text = text
  }

  place(path: TomlPath): string {
    this.#places ??= new TomlPlaces(this.#text)
    const found = this.#places.of(path)
    return found ? `${this.path}:${found.line}:${found.column}` : this.path
  }
}

/** A table of a file. Values are checked when they are read; errors name the place in the file. */
export class TomlSection {
  readonly #file: TomlFile
  readonly #table: Table
  readonly #path: TomlPath

  constructor(file: TomlFile, table: Table, path: TomlPath) {
    this.#file = file
    this.#table = table
    this.#path = path
  }

  /** In the order of the file. */
  get keys(): string[] {
    return Object.keys(this.#table)
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#table, key)
  }

  /** `FILE:LINE:COLUMN` of a key, or of the table. */
  place(key?: string): string {
    return this.#file.place(key === undefined ? this.#path : [...this.#path, key])
  }

  fail(key: string | undefined, message: string, hint?: string): never {
    throw invalid(this.place(key), message, hint)
  }

  string(key: string): string | undefined {
    const value = this.value(key)
    if (value === undefined || typeof value === 'string') return value
    return this.#expected(key, 'text in quotes')
  }

  boolean(key: string): boolean | undefined {
    const value = this.value(key)
    if (value === undefined || typeof value === 'boolean') return value
    return this.#expected(key, 'true or false')
  }

  /** A list of texts; `alone` allows a single text without a list. */
  strings(key: string, alone: 'alone' | 'list' = 'list'): string[] | undefined {
    const value = this.value(key)
    if (value === undefined) return undefined
    if (alone === 'alone' && typeof value === 'string') return [value]
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
    return this.#expected(key, alone === 'alone' ? 'text in quotes, or a list of these' : 'a list of texts')
  }

  /** The tables of `[key.NAME]`, by name, in the order of the file. */
  named(key: string): [name: string, section: TomlSection][] {
    const value = this.value(key)
    if (value === undefined) return []
    if (!isTable(value)) return this.#expected(key, `tables, [${key}."NAME"]`)
    return Object.entries(value).map(([name, table]) => {
      if (!isTable(table)) return this.#expected(key, `tables, [${key}."NAME"]`)
      return [name, new TomlSection(this.#file, table, [...this.#path, key, name])]
    })
  }

  /** The tables of `[[key]]`, in order. */
  list(key: string): TomlSection[] {
    const value = this.value(key)
    if (value === undefined) return []
    const name = [...this.#path.filter((part) => typeof part === 'string'), key].join('.')
    if (!Array.isArray(value) || !value.every(isTable)) return this.#expected(key, `tables, [[${name}]]`)
    return value.map((table, i) => new TomlSection(this.#file, table, [...this.#path, key, i]))
  }

  /** A value without checks. */
  value(key: string): unknown {
    return this.has(key) ? this.#table[key] : undefined
  }

  /**
   * Warns about keys that are not read.
   * @param known keys that are read, or ignored without a warning.
   * @param unsupported keys that other programs read, with what to say about them.
   */
  others(
    known: readonly string[],
    unsupported: ReadonlyMap<string, string>,
    warn: (message: string) => void,
  ): void {
    const readable = [...known, ...unsupported.keys()]
    for (const key of this.keys) {
      if (known.includes(key)) continue
      const meant = readable.find((other) => other.toLowerCase() === key.toLowerCase())
      // Some readers treat these as the same key, and some do not.
      if (meant !== undefined && meant !== key) this.fail(key, `write "${key}" as "${meant}"`)
      warn(`${this.place(key)}: "${key}" ${unsupported.get(key) ?? 'is unknown, and has no effect'}`)
    }
  }

  #expected(key: string, what: string): never {
    this.fail(key, `"${key}" must be ${what}`)
  }
}

function isTable(value: unknown): value is Table {
  // Dates are objects too.
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}
