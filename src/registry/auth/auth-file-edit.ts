import { membersOf, type Member, type ObjectText } from '../../oci/json-members.ts'

/** What an entry of `auths` says, as Docker writes it. Empty where a helper has the secret. */
export interface AuthEntry {
  auth?: string
  identitytoken?: string
}

const NEW_FILE = '{\n\t\n}\n'

/** Why a credentials file cannot be changed in one way only; undefined where it can. */
export function editFault(text: string): string | undefined {
  if (text.trim() === '') return undefined
  const top = membersOf(text, 0)
  const twice = firstTwin(top.members)
  if (twice !== undefined) return `it has the key ${JSON.stringify(twice)} twice`
  // Docker's own reader takes "Auths" for "auths".
  const other = top.members.find(({ key }) => key !== 'auths' && key.toLowerCase() === 'auths')
  if (other !== undefined) return `its key ${JSON.stringify(other.key)} differs only in case from "auths"`
  return undefined
}

/** The keys of `auths`, in the order of the file. */
export function authKeys(text: string): string[] {
  return authsOf(text)?.members.map(({ key }) => key) ?? []
}

/**
 * Sets entries of `auths` in the text of a credentials file; everything else stays as it is, byte for byte.
 * @param text what {@link editFault} has no fault with; may be empty.
 */
export function setEntries(text: string, keys: readonly string[], entry: AuthEntry): string {
  let edited = /^\s*(?:\{\s*\})?\s*$/.test(text) ? NEW_FILE : text
  const style = styleOf(edited)
  for (const key of new Set(keys)) {
    const auths = authsOf(edited)
    if (auths === undefined) {
      edited = setMember(edited, membersOf(edited, 0), 'auths', {}, style, 1)
      edited = setEntries(edited, [key], entry)
    } else {
      edited = setMember(edited, auths, key, entry, style, 2)
    }
  }
  return edited
}

/** Removes entries of `auths`; everything else stays as it is. */
export function removeEntries(text: string, keys: readonly string[]): string {
  let edited = text
  for (;;) {
    const auths = authsOf(edited)
    const at = auths?.members.findIndex(({ key }) => keys.includes(key)) ?? -1
    if (auths === undefined || at < 0) return edited
    const [before, member, after] = [auths.members[at - 1], auths.members[at], auths.members[at + 1]]
    const from = before?.end ?? (after ? member?.start : auths.open + 1)
    const to = before ? member?.end : (after?.start ?? auths.close)
    edited = edited.slice(0, from) + edited.slice(to)
  }
}

function authsOf(text: string): ObjectText | undefined {
  if (text.trim() === '') return undefined
  const auths = membersOf(text, 0).members.find(({ key }) => key === 'auths')
  return auths && text[auths.valueStart] === '{' ? membersOf(text, auths.valueStart) : undefined
}

/** How a file is laid out: the line end and the indentation of one level; nothing for one that is all one line. */
interface Style {
  newline: string
  unit: string
}

function styleOf(text: string): Style | undefined {
  const match = /^\s*\{[ \t]*(\r?\n)([ \t]*)/.exec(text)
  return match === null ? undefined : { newline: match[1] ?? '\n', unit: match[2] ?? '' }
}

function setMember(
  text: string,
  object: ObjectText,
  key: string,
  value: object,
  style: Style | undefined,
  depth: number,
): string {
  const written = write(value, style, depth)
  const existing = object.members.filter((member) => member.key === key)
  if (existing.length > 0) {
    // From the end on, so that the places before stay right.
    return existing.reduceRight(
      (edited, { valueStart, end }) => edited.slice(0, valueStart) + written + edited.slice(end),
      text,
    )
  }
  const lineStart = style === undefined ? '' : style.newline + style.unit.repeat(depth)
  const member = `${JSON.stringify(key)}:${style === undefined ? '' : ' '}${written}`
  const last = object.members.at(-1)
  if (last !== undefined) return `${text.slice(0, last.end)},${lineStart}${member}${text.slice(last.end)}`
  const lineEnd = style === undefined ? '' : style.newline + style.unit.repeat(depth - 1)
  return `${text.slice(0, object.open + 1)}${lineStart}${member}${lineEnd}${text.slice(object.close)}`
}

function write(value: object, style: Style | undefined, depth: number): string {
  if (style === undefined) return JSON.stringify(value)
  return JSON.stringify(value, null, style.unit).replaceAll('\n', style.newline + style.unit.repeat(depth))
}

function firstTwin(members: readonly Member[]): string | undefined {
  const seen = new Set<string>()
  return members.find(({ key }) => seen.size === seen.add(key).size)?.key
}
