import * as v from 'valibot'
import { isMap, isScalar, isSeq, type ParsedNode, type YAMLMap } from 'yaml'
import { AirgapError, type Problem, withHint } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { issueOf } from './yaml-values.ts'
import { describeNode, quote, readYaml } from './yaml.ts'
import type { Hint, Hints } from '../hints.ts'

/** A mistake in a document. */
export interface Fault {
  path: YamlPath
  message: string
  hints?: readonly Hint[] | undefined
  /** The fault is in the key, not in its value. */
  atKey?: boolean
  /** Where that is, if known: looking it up takes time. */
  offset?: number
}

/**
 * Runs work that depends on a value of a document. If it throws an AirgapError, adds a fault at the value's place.
 * @returns what the work returns; undefined if it failed.
 */
export async function attempt<T>(
  path: YamlPath,
  faults: Fault[],
  work: () => T | Promise<T>,
): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    faults.push({ path, message: withHint(error) })
    return undefined
  }
}

/** Longest message, in characters: messages can quote any amount of the file. */
const MAX_MESSAGE = 500

/**
 * The error for a document that cannot be used. A single mistake goes into the message, several become a list.
 *
 * @param words the beginning of the message: `one` precedes a single mistake, `several` the number of mistakes.
 */
export function unusableDocument(
  code: 'INVALID_CONFIG' | 'INVALID_POLICY',
  found: readonly Problem[],
  words: { one: string; several: string; hint: Hints },
): AirgapError {
  const problems = found.map(({ entry, message, hints = [] }) => ({
    entry,
    hints,
    message: message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message,
  }))
  const [first] = problems
  const isOne = problems.length === 1 && first !== undefined
  return new AirgapError(
    code,
    isOne ? `${words.one}${first.entry}: ${first.message}` : `${words.several}: ${problems.length} mistakes`,
    { problems: isOne ? [] : problems, hint: [...(isOne ? first.hints : []), words.hint].flat() },
  )
}

/** The path to a value in a document: keys, and indexes into lists. */
export type YamlPath = readonly (string | number)[]

/** A path in words: `item 2 of keys`, `notAfter`, `the policy`. */
export function pathInWords(path: YamlPath, kind: string): string {
  const last = path.at(-1)
  if (last === undefined) return `the ${kind}`
  if (typeof last === 'string') return last
  return `item ${last + 1} of ${pathInWords(path.slice(0, -1), kind)}`
}

/** The offset of a value or its key. If the path does not exist, that of the nearest existing value around it. */
function offsetAt(root: ParsedNode | null, path: YamlPath, atKey: boolean): number {
  let node = root
  let offset = root?.range[0] ?? 0
  for (const [depth, part] of path.entries()) {
    const isLast = depth === path.length - 1
    if (isMap(node)) {
      // The last pair with this key, so that a duplicate key is reported at its second place.
      const pair = node.items.findLast(({ key }) => isScalar(key) && key.value === part)
      if (!pair) return offset
      const { key, value } = pair as { key: ParsedNode; value: ParsedNode | null }
      offset = (isLast && atKey ? undefined : value?.range[0]) ?? key.range[0]
      node = value
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part] ?? null
      offset = node?.range[0] ?? offset
    } else {
      return offset
    }
  }
  return offset
}

/** A document that was read and matches its schema. */
export interface YamlDocument<T> {
  ok: true
  value: T
  /** `FILE:LINE:COLUMN` of a value. */
  place: (path: YamlPath) => string
  /** Turns faults into problems with their places, in the order of the file. */
  problemsOf: (faults: readonly Fault[]) => Problem[]
}

export interface YamlDocumentOptions<S extends v.GenericSchema> {
  /** The file's name, for messages. */
  what: string
  /** What the file should be, for messages: `policy`. */
  kind: string
  /** Made of mappings (`strictObject`, `record`), lists, scalars, and unions of which the node's kind selects one option. */
  schema: S
  /** Other words for known keys, to suggest the key for them. In lower case, without `-`, `_` and `.`. */
  synonyms?: ReadonlyMap<string, string>
  /**
   * Why the file cannot have a key, where more can be said than that it is unknown; it is given like the synonyms.
   */
  explain?: (folded: string, key: string) => Omit<Problem, 'entry'> | undefined
}

/**
 * Reads a YAML document as strictly as {@link readYaml} and checks it against a schema. Unknown and duplicate keys are
 * faults. Finds all faults, not only the first.
 */
export function readYamlDocument<S extends v.GenericSchema>(
  bytes: Uint8Array,
  { what, kind, schema, synonyms = new Map(), explain = () => undefined }: YamlDocumentOptions<S>,
): YamlDocument<v.InferOutput<S>> | { ok: false; problems: Problem[] } {
  const yaml = readYaml(bytes, what, kind)
  if (yaml.root === undefined) return { ok: false, problems: yaml.problems }
  const { root, place } = yaml
  const problemsOf = (faults: readonly Fault[]): Problem[] =>
    faults
      .map(({ path, atKey = false, offset = offsetAt(root, path, atKey), ...fault }) => ({
        ...fault,
        offset,
      }))
      .toSorted((a, b) => a.offset - b.offset)
      .map(({ offset, message, hints = [] }) => ({ entry: place(offset), message, hints }))
  if (!isMap(root)) {
    const is = root === null || (isScalar(root) && root.value === null) ? 'it is empty' : describeIs(root)
    return { ok: false, problems: [{ entry: place(root?.range[0] ?? 0), message: `${is}, not a ${kind}` }] }
  }
  const walk = new Walk({ synonyms, explain, place })
  const value = walk.visit(schema, root, [], kind)
  if (walk.faults.length > 0) return { ok: false, problems: problemsOf(walk.faults) }
  const result = v.safeParse(schema, value)
  if (!result.success) {
    const faults = result.issues.map((issue) => {
      const path = (issue.path ?? []).map(({ key }) => key as string | number)
      return { path, message: issueOf(pathInWords(path, kind), issue) }
    })
    return { ok: false, problems: problemsOf(faults) }
  }
  return { ok: true, value: result.output, place: (path) => place(offsetAt(root, path, false)), problemsOf }
}

function describeIs(node: ParsedNode): string {
  return `this is ${describeNode(node)}`
}

/** After so many faults, suggest no keys any more: it takes time, and nobody reads the hundredth suggestion. */
const MAX_EXPLAINED = 100

/** More keys are not listed in a message. */
const MAX_LISTED = 12

/** Names with a special meaning in JavaScript objects. */
const RESERVED: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

interface AnySchema {
  type: string
  wrapped?: AnySchema
  entries?: Record<string, AnySchema>
  options?: readonly AnySchema[]
  item?: AnySchema
  key?: AnySchema
  value?: AnySchema
}

type WalkOptions = Required<Pick<YamlDocumentOptions<v.GenericSchema>, 'synonyms' | 'explain'>> & {
  place: (offset: number) => string
}

/** Compares a document's nodes with a schema and extracts their values. */
class Walk {
  readonly faults: Fault[] = []
  readonly #options: WalkOptions

  constructor(options: WalkOptions) {
    this.#options = options
  }

  visit(given: unknown, node: ParsedNode | null, path: YamlPath, kind: string): unknown {
    const name = pathInWords(path, kind)
    if (node === null || (isScalar(node) && node.value === null)) {
      // The value of a key without one may have no node.
      const isItem = typeof path.at(-1) === 'number'
      const message = `${name} has no value${isItem ? '' : '; fill it in, or remove the key'}`
      if (node) this.#failAt(node.range[0], message)
      else this.faults.push({ path, message })
      return undefined
    }
    const schema = choose(given as AnySchema, node)
    const fail = (message: string): undefined => this.#failAt(node.range[0], message) as undefined
    if (!schema) return fail(mismatch(name, given as AnySchema, node))
    if (schema.entries && isMap(node)) return this.#object(schema.entries, node, path, kind)
    if (schema.key && schema.value && isMap(node)) return this.#record(schema, node, path, kind)
    if (schema.item && isSeq(node)) {
      return node.items.map((item, i) => this.visit(schema.item, item, [...path, i], kind))
    }
    const { value } = node as { value: unknown }
    const result = v.safeParse(schema as unknown as v.GenericSchema, value)
    if (result.success) return value
    const [issue] = result.issues
    const isKind = issue.kind === 'schema'
    return fail(isKind ? mismatch(name, schema, node) : issueOf(name, issue))
  }

  #object(
    entries: Record<string, AnySchema>,
    node: YAMLMap.Parsed,
    path: YamlPath,
    kind: string,
  ): Record<string, unknown> {
    const object: Record<string, unknown> = {}
    const known = Object.keys(entries)
    const pairs = this.#pairs(node)
    for (const [key, { value, offset }] of pairs) {
      const schema = Object.hasOwn(entries, key) ? entries[key] : undefined
      if (schema) object[key] = this.visit(schema, value, [...path, key], kind)
      else this.faults.push({ path: [], offset, ...this.#unknown(key, known, path, kind) })
    }
    for (const key of known) {
      if (entries[key]?.type !== 'optional' && !pairs.has(key)) {
        this.#failAt(node.range[0], `${pathInWords(path, kind)} lacks the key ${key}`)
      }
    }
    return object
  }

  #record(schema: AnySchema, node: YAMLMap.Parsed, path: YamlPath, kind: string): Record<string, unknown> {
    const object: Record<string, unknown> = {}
    for (const [key, { value, offset }] of this.#pairs(node)) {
      const result = v.safeParse(schema.key as unknown as v.GenericSchema, key)
      const fault = result.success ? undefined : result.issues[0].message
      if (fault !== undefined || RESERVED.has(key)) {
        this.#failAt(offset, `${quote(key)} ${fault ?? 'cannot be a name here'}`)
      } else {
        object[key] = this.visit(schema.value, value, [...path, key], kind)
      }
    }
    return object
  }

  /** A mapping's keys and their values. Other keys than text and duplicate keys become faults. */
  #pairs(node: YAMLMap.Parsed): Map<string, { value: ParsedNode | null; offset: number }> {
    const pairs = new Map<string, { value: ParsedNode | null; offset: number }>()
    for (const { key, value } of node.items as { key: ParsedNode; value: ParsedNode | null }[]) {
      const [offset] = key.range
      if (!isScalar(key) || typeof key.value !== 'string') {
        this.#failAt(offset, `a key must be a word, but this is ${describeNode(key)}`)
      } else if (pairs.has(key.value)) {
        const first = this.#options.place(pairs.get(key.value)?.offset ?? 0)
        this.#failAt(offset, `the key ${quote(key.value)} is given twice, first in ${first}`)
      } else {
        pairs.set(key.value, { value, offset })
      }
    }
    return pairs
  }

  #unknown(
    key: string,
    known: readonly string[],
    path: YamlPath,
    kind: string,
  ): Pick<Fault, 'message' | 'hints'> {
    const where = path.length === 0 ? '' : ` in ${pathInWords(path, kind)}`
    const message = `there is no key ${quote(key)}${where}`
    if (key === '<<') return { message: 'merge keys (<<) are not supported' }
    if (this.faults.length >= MAX_EXPLAINED) return { message }
    const explained = path.length === 0 ? this.#options.explain(fold(key), key) : undefined
    if (explained) return explained
    const folded = new Map(known.map((one) => [fold(one), one]))
    const synonym = this.#options.synonyms.get(fold(key))
    const meant =
      known.find((one) => one === synonym) ?? folded.get(nearest(fold(key), [...folded.keys()]) ?? '')
    if (meant !== undefined) return { message: `${message}; did you mean ${meant}?` }
    return { message: known.length > MAX_LISTED ? message : `${message}; the keys are ${known.join(', ')}` }
  }

  #failAt(offset: number, message: string): void {
    this.faults.push({ path: [], message, offset })
  }
}

/** Brings spellings of one key to one: `images-from`, `images_from` and `ImagesFrom` all mean `imagesFrom`. */
function fold(key: string): string {
  return key
    .slice(0, 64)
    .toLowerCase()
    .replaceAll(/[-_. ]/g, '')
}

/** Unwraps an optional schema, and picks the option of a union that fits the node's kind. */
function choose(schema: AnySchema, node: ParsedNode): AnySchema | undefined {
  if (schema.wrapped) return choose(schema.wrapped, node)
  if (schema.options && schema.type === 'union') {
    return schema.options.map((option) => choose(option, node)).find((option) => option !== undefined)
  }
  if (schema.entries || schema.key) return isMap(node) ? schema : undefined
  if (schema.item) return isSeq(node) ? schema : undefined
  if (!isScalar(node)) return undefined
  const kinds: Record<string, string> = { string: 'string', number: 'number', boolean: 'boolean' }
  const wanted = kinds[schema.type]
  return wanted === undefined || typeof node.value === wanted ? schema : undefined
}

function expected(schema: AnySchema & { literal?: unknown; options?: readonly unknown[] }): string {
  if (schema.wrapped) return expected(schema.wrapped)
  if (schema.type === 'union') {
    return (schema.options as AnySchema[]).map((option) => expected(option)).join(' or ')
  }
  if (schema.type === 'literal') return JSON.stringify(schema.literal)
  if (schema.type === 'picklist') return (schema.options ?? []).join(' or ')
  if (schema.entries || schema.key) return 'a mapping'
  if (schema.item) return 'a list'
  return { string: 'text', number: 'a number', boolean: 'true or false' }[schema.type] ?? schema.type
}

/** The message for a value of the wrong kind. For a number that should be text, it shows the quoted form. */
function mismatch(name: string, schema: AnySchema, node: ParsedNode): string {
  const wanted = expected(schema)
  const message = `${name} must be ${wanted}, but is ${describeNode(node)}`
  if (wanted === 'text' && isMap(node)) {
    return `${message}; a colon before a space or at the end of a line makes a mapping, unless the text is in quotes`
  }
  if (wanted === 'a list' && isScalar(node) && typeof node.value === 'string') {
    return `${message}; a list has one item per line, each after "- "`
  }
  const isBare = isScalar(node) && typeof node.value !== 'string' && node.source !== undefined
  const isText = /\btext\b/.test(wanted) || wanted.startsWith('"')
  return isBare && isText ? `${message}; in quotes it is text: "${node.source}"` : message
}
