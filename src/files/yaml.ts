import {
  Composer,
  LineCounter,
  Parser,
  isScalar,
  isSeq,
  visit,
  type CST,
  type Document,
  type ParsedNode,
} from 'yaml'
import type { Problem } from '../errors.ts'

/** Bytes, far more than people write by hand. */
export const MAX_YAML_SIZE = 1024 * 1024

/** Levels of nested collections. The library recurses into them, and the stack is limited. */
const MAX_DEPTH = 16

/** Further syntax errors are usually consequences of the first. */
const MAX_SYNTAX_ERRORS = 10

/** Longest text quoted in a message, in characters. */
const MAX_QUOTED = 80

/** A YAML document, or its problems. */
export interface YamlText {
  /** The document's content; undefined if there are problems, null if the file is empty. */
  root: ParsedNode | null | undefined
  problems: Problem[]
  /** `FILE:LINE:COLUMN` of an offset, both counted from 1. */
  place: (offset: number) => string
}

/**
 * Reads one YAML 1.2 document of the core schema, and only what every reader understands in the same way: UTF-8 (a
 * byte order mark is allowed), no aliases or anchors, only core tags, no control characters, at most 16 levels deep.
 * The caller has to check for duplicate keys.
 *
 * @param what the file's name, for messages.
 * @param kind what the file should be, for messages: `config`, `policy`.
 */
export function readYaml(bytes: Uint8Array, what: string, kind: string): YamlText {
  const lines = new LineCounter()
  const problems: Problem[] = []
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${what}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }
  const fail = (entry: string, message: string): YamlText => {
    problems.push({ entry, message })
    return { root: undefined, problems, place }
  }

  if (bytes.length > MAX_YAML_SIZE)
    return fail(what, `it is larger than ${MAX_YAML_SIZE} bytes, too large for a ${kind}`)
  let text: string
  try {
    // Also drops a UTF-8 byte order mark.
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return fail(
      what,
      'it is not UTF-8 text; save it as UTF-8 (in PowerShell 5, ">" writes UTF-16: use Out-File -Encoding utf8)',
    )
  }

  lines.addNewLine(0)
  for (const { index } of text.matchAll(/\n/g)) lines.addNewLine(index + 1)
  const character = FORBIDDEN_CHARACTER.exec(text)
  if (character) {
    const code = (character[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
    return fail(place(character.index), `the character U+${code} does not belong in a ${kind}`)
  }
  const tokens = [...new Parser().parse(text)]
  const deep = tooDeep(tokens)
  if (deep !== undefined) return fail(place(deep), `it is nested deeper than ${MAX_DEPTH} levels`)

  const composer = new Composer({
    prettyErrors: false,
    version: '1.2',
    schema: 'core',
    merge: false,
    resolveKnownTags: false,
    // The library compares every key with every other, which takes minutes for the largest files allowed.
    uniqueKeys: false,
  })
  const documents = [...composer.compose(tokens, true, text.length)]
  const [document, second] = documents
  for (const error of [...(document?.errors ?? []), ...(second?.errors ?? [])].slice(0, MAX_SYNTAX_ERRORS)) {
    problems.push({ entry: place(error.pos[0]), message: explain(error.code, error.message) })
  }
  if (second && problems.length === 0)
    return fail(place(second.range[0]), `a second document begins here, but a ${kind} is a single document`)
  if (!document || problems.length > 0) return { root: undefined, problems, place }
  checkFeatures(document, problems, place)
  return { root: problems.length > 0 ? undefined : document.contents, problems, place }
}

/** Quotes and shortens text of the file for a message. */
export function quote(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text)
}

// Characters that YAML 1.2 forbids, line ends that only some editors show (such as a carriage return without a line
// feed), and characters that change the text direction. With the last two a reviewer would see something else than we read.
const FORBIDDEN_CHARACTER =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]|\r(?!\n)/

/** The offset of a collection that is nested too deeply. Without recursion. */
function tooDeep(tokens: readonly CST.Token[]): number | undefined {
  const open = tokens.map((token) => ({ token, depth: 0 }))
  for (let next = open.pop(); next; next = open.pop()) {
    const { token, depth } = next
    if (token.type === 'document') {
      if (token.value) open.push({ token: token.value, depth })
    } else if ('items' in token) {
      if (depth >= MAX_DEPTH) return token.offset
      for (const { key, value } of token.items) {
        if (key) open.push({ token: key, depth: depth + 1 })
        if (value) open.push({ token: value, depth: depth + 1 })
      }
    }
  }
  return undefined
}

/** The library's message, with advice where it is not enough. */
function explain(code: string, message: string): string {
  switch (code) {
    case 'BLOCK_AS_IMPLICIT_KEY':
      return `${message}; put text that contains ": " in quotes`
    case 'BAD_ALIAS':
      return `${message}; put a pattern that begins with * in quotes`
    case 'BAD_SCALAR_START':
      return `${message}; put the text in quotes`
    case 'TAB_AS_INDENT':
      return `${message}; use spaces`
    default:
      return message
  }
}

const CORE_TAG = /^!$|^tag:yaml\.org,2002:(?:str|int|float|bool|null|seq|map)$/

function checkFeatures(document: Document, problems: Problem[], place: YamlText['place']): void {
  if (document.directives?.yaml.explicit && document.directives.yaml.version !== '1.2') {
    problems.push({
      entry: place(0),
      message: 'it asks for another YAML version than 1.2; remove the %YAML line',
    })
  }
  for (const warning of document.warnings) {
    // Unresolved tags are reported below, with their place.
    if (warning.code !== 'TAG_RESOLVE_FAILED')
      problems.push({ entry: place(warning.pos[0]), message: warning.message })
  }
  visit(document, {
    Alias(_, { source, range }) {
      const text = `*${source}`
      problems.push({
        entry: place(range?.[0] ?? 0),
        message: `${quote(text)} without quotes is a YAML alias, and aliases are not read here; if it is a pattern, put it in quotes`,
      })
    },
    Node(_, node) {
      const entry = place(node.range?.[0] ?? 0)
      if ('anchor' in node && node.anchor !== undefined) {
        problems.push({
          entry,
          message: `the anchor ${quote(`&${node.anchor}`)} has no use here, because aliases are not read`,
        })
      }
      if (node.tag !== undefined && !CORE_TAG.test(node.tag)) {
        problems.push({ entry, message: `the tag ${quote(node.tag)} is not known here; leave it out` })
      }
    },
  })
}

/** Describes a node in words. */
export function describeNode(node: unknown): string {
  if (!isScalar(node)) return isSeq(node) ? 'a list' : 'a mapping'
  const { value } = node
  if (value === null) return 'nothing'
  if (typeof value === 'string') return `the text ${quote(value)}`
  return typeof value === 'number'
    ? `the number ${node.source ?? value}`
    : (node.source ?? JSON.stringify(value))
}
