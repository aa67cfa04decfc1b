/** A way into a TOML document: names of keys, and indexes in arrays of tables. */
export type TomlPath = readonly (string | number)[]

export interface TomlPlace {
  /** Both counted from 1. */
  line: number
  column: number
}

const KEY_PART = /[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))[ \t]*/y

/** Longer lines and longer keys are not looked into: what is read of such files has neither. */
const MAX_LINE = 4096
const MAX_PARTS = 8

/**
 * Where the keys of a TOML text stand; for messages only. The text is a valid document. Values are not read: what is
 * within a value is where the value's key is.
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

  /** The place of a key; where it is not known, that of the innermost table around it that is. */
  of(path: TomlPath): TomlPlace | undefined {
    for (let length = Math.min(path.length, 2 * MAX_PARTS); length > 0; length--) {
      const found = this.#places.get(JSON.stringify(path.slice(0, length).map(String)))
      if (found) return found
    }
    return undefined
  }

  /** A table is also where the first thing in it is. */
  #add(path: readonly string[], place: TomlPlace): void {
    for (let length = 1; length <= path.length; length++) {
      const key = JSON.stringify(path.slice(0, length))
      if (!this.#places.has(key)) this.#places.set(key, place)
    }
  }
}

/** The dotted key at a place in a line. */
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

/** A table's name with the present index behind each part that is an array of tables. */
function withIndexes(keys: readonly string[], counts: ReadonlyMap<string, number>): string[] {
  return keys.flatMap((key, i) => {
    const count = counts.get(JSON.stringify(keys.slice(0, i + 1)))
    return count === undefined ? [key] : [key, String(count)]
  })
}
