import { constants } from 'node:fs'
import { access, lstat, mkdir, readlink, realpath } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { AirgapError, fileError, systemCode } from '../../errors.ts'
import { withFileLock } from '../../files/file-lock.ts'
import { OutputFile } from '../../files/output-file.ts'
import { type AuthFile, damaged, readAuthFile } from './auth-file.ts'
import { endOfString } from '../../oci/json.ts'

/** One `"key": value` of an object, by its place in the text. */
interface Member {
  key: string
  /** Position of the key's opening quote. */
  start: number
  valueStart: number
  /** Position after the value. */
  end: number
}

interface ObjectText {
  /** Position of the opening brace. */
  open: number
  /** Position of the closing brace. */
  close: number
  members: Member[]
}

/**
 * Finds the members of one object in JSON text, so that one part of the text can be changed and the rest stays the
 * same, byte for byte.
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

/** An entry of `auths`, as Docker writes it. Empty where a helper has the secret. */
export interface AuthEntry {
  auth?: string
  identitytoken?: string
}

const NEW_FILE = '{\n\t\n}\n'

/** Why a change to a credentials file would be ambiguous; undefined where it would not. */
export function editFault(text: string): string | undefined {
  if (text.trim() === '') return undefined
  const top = membersOf(text, 0)
  const twice = firstTwin(top.members)
  if (twice !== undefined) return `it has the key ${JSON.stringify(twice)} twice`
  // Docker reads "Auths" as "auths".
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
 * @param text a text in which {@link editFault} finds nothing; may be empty.
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

/** A file's layout: its line end, and the indentation of one level. There is none for a file of one line. */
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
    // From the end, so that earlier positions stay right.
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

const MAX_LINKS = 10
/** How often to try the change. A program that does not use our lock, such as Docker, may change the file meanwhile. */
const ATTEMPTS = 5

export interface UpdateOptions {
  /** Create the folder (0700) where there is none. */
  createFolder: boolean
  signal?: AbortSignal | undefined
}

/**
 * Reads a credentials file that is to be changed, and checks that it can be.
 * @returns undefined where there is no file yet.
 * @throws AirgapError `CREDENTIALS` when it is damaged, `OUTPUT_UNSAFE` when it, or a link to it, belongs to another
 *   user, `FILE` when it cannot be read or its folder cannot be written to.
 */
export async function readForUpdate(path: string, createFolder: boolean): Promise<AuthFile | undefined> {
  const target = await targetOf(path)
  const file = await readEditable(target)
  try {
    await access(dirname(target), constants.W_OK)
  } catch (error) {
    if (createFolder && systemCode(error) === 'ENOENT') return file
    throw fileError(error, 'write to the folder', dirname(target))
  }
  return file
}

/**
 * Changes the text of a credentials file: under a lock, atomically, with mode 0600. A symbolic link of the user's own
 * stays a link, and its target is changed: some people keep their configuration under version control that way.
 * @param edit from the file's text, empty where there is no file, to the new text. It is called again when another
 *   program has changed the file meanwhile. If it returns the same text, nothing is written.
 * @throws AirgapError as {@link readForUpdate}; `DISK_FULL`, `INTERRUPTED`.
 */
export async function updateAuthFile(
  path: string,
  edit: (text: string) => string,
  { createFolder, signal }: UpdateOptions,
): Promise<void> {
  const target = await targetOf(path)
  if (createFolder) {
    await mkdir(dirname(target), { recursive: true, mode: 0o700 }).catch((error: unknown) => {
      throw fileError(error, 'create the folder', dirname(target))
    })
  }
  await withFileLock(target, signal, async () => {
    for (let attempt = 1; !(await changeOnce(target, edit)); attempt++) {
      if (attempt === ATTEMPTS) {
        throw new AirgapError('FILE', `cannot change ${path}: another program keeps changing it`, {
          hint: 'Run the same command again.',
        })
      }
    }
  })
}

/** @returns false when another program changed the file meanwhile; nothing is written then. */
async function changeOnce(target: string, edit: (text: string) => string): Promise<boolean> {
  const before = await versionOf(target)
  const text = (await readEditable(target))?.text ?? ''
  const edited = edit(text)
  if (edited === text) return true
  const output = await OutputFile.reserve(target, { force: true, mode: 0o600 })
  try {
    await output.write(Buffer.from(edited), 0)
    if ((await versionOf(target)) !== before) {
      await output.discard()
      return false
    }
    await output.commit()
    return true
  } catch (error) {
    await output.discard()
    throw error
  }
}

async function readEditable(target: string): Promise<AuthFile | undefined> {
  const file = await readAuthFile(target, false)
  const fault = file && editFault(file.text)
  if (fault !== undefined) throw damaged(target, fault)
  return file
}

/** Identifies one state of a file; undefined where there is no file. */
async function versionOf(path: string): Promise<string | undefined> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await lstat(path, { bigint: true })
    return [ino, size, mtimeNs, ctimeNs].join(' ')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, 'read', path)
  }
}

/**
 * The file itself, after following links of the user's own (or root's). It need not exist, unless a link points to it.
 */
async function targetOf(path: string): Promise<string> {
  let current = resolve(path)
  for (let links = 0; links <= MAX_LINKS; links++) {
    const info = await lstat(current).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
      throw fileError(error, 'read the credentials file', current)
    })
    if (info === undefined && links > 0) {
      throw new AirgapError(
        'OUTPUT_UNSAFE',
        `cannot write ${path}: it is a link to ${current}, which does not exist`,
        {
          hint: 'Create the file that the link points to (it may be empty), or remove the link.',
        },
      )
    }
    if (info === undefined) return current
    const uid = process.getuid?.() ?? info.uid
    if (info.uid !== uid && !(info.isSymbolicLink() && info.uid === 0)) {
      const what = info.isSymbolicLink() ? `the link ${current}` : links === 0 ? 'it' : current
      throw new AirgapError(
        'OUTPUT_UNSAFE',
        `cannot write ${path}: ${what} belongs to user ${info.uid}, but this runs as user ${uid}`,
        { hint: ['Run this as that user (without sudo), or use your own file.', { id: 'auth-file' }] },
      )
    }
    if (info.isFile()) return current
    if (!info.isSymbolicLink()) {
      throw new AirgapError('OUTPUT_UNSAFE', `cannot write ${path}: it is not a regular file`)
    }
    current = resolve(await realpath(dirname(current)), await readlink(current))
  }
  throw new AirgapError('OUTPUT_UNSAFE', `cannot write ${path}: more than ${MAX_LINKS} links lead to it`)
}
