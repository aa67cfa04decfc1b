import { endOfString } from './json.ts'

/** One `"key": value` of an object, by its place in the text. */
export interface Member {
  key: string
  /** Of the key's opening quote. */
  start: number
  valueStart: number
  /** Behind the value. */
  end: number
}

export interface ObjectText {
  /** Of the opening brace. */
  open: number
  /** Of the closing brace. */
  close: number
  members: Member[]
}

/**
 * Finds the members of one object in JSON text, so that a part of it can be changed and all else stays as it is,
 * byte for byte.
 * @param text JSON that `JSON.parse` accepts.
 * @param at where the object begins; white space may stand before it.
 */
export function membersOf(text: string, at: number): ObjectText {
  const open = skipSpace(text, at)
  const members: Member[] = []
  let next = skipSpace(text, open + 1)
  while (text[next] === '"') {
    const start = next
    const keyEnd = endOfString(text, start)
    const valueStart = skipSpace(text, skipSpace(text, keyEnd) + 1)
    const end = endOfValue(text, valueStart)
    members.push({ key: JSON.parse(text.slice(start, keyEnd)) as string, start, valueStart, end })
    next = skipSpace(text, end)
    if (text[next] === ',') next = skipSpace(text, next + 1)
  }
  return { open, close: next, members }
}

function skipSpace(text: string, at: number): number {
  let next = at
  while (next < text.length && ' \t\r\n'.includes(text[next] ?? '')) next += 1
  return next
}

const SCALAR_END = /[\s,\]}]|$/g

function endOfValue(text: string, at: number): number {
  if (text[at] === '"') return endOfString(text, at)
  if (text[at] !== '{' && text[at] !== '[') {
    SCALAR_END.lastIndex = at
    return SCALAR_END.exec(text)?.index ?? text.length
  }
  let depth = 0
  for (let next = at; next < text.length; next += 1) {
    const character = text[next]
    if (character === '"') next = endOfString(text, next) - 1
    else if (character === '{' || character === '[') depth += 1
    else if (character === '}' || character === ']') depth -= 1
    if (depth === 0) return next + 1
  }
  return text.length
}
