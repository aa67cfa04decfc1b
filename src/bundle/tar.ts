import { AirgapError } from '../errors.ts'

/**
 * The only form of tar archive that a bundle has: POSIX ustar, regular files, and headers that depend on name and size
 * alone. It equals, byte for byte, what GNU tar writes with
 * `--format=ustar --owner=0 --group=0 --numeric-owner --mode=0644 --mtime=@0 -b1`, so that an auditor can
 * rebuild the archive and compare. (IEEE Std 1003.1, pax § ustar Interchange Format.)
 */
export const BLOCK = 512

/** Two zero blocks end an archive. */
export const END_SIZE = 2 * BLOCK

/** From this size on, a pax record holds the size, because a ustar header cannot. Bytes. */
const PAX_FROM = 8 ** 11

const MAX_NAME = 100
/** The offset of an entry's type in its header, and the type of a pax record. */
const TYPE = 156
const PAX_TYPE = 0x78

/** The header of an entry: one block, or three with a pax `size` record. */
export function encodeHeader(name: string, size: number): Buffer {
  if (size < PAX_FROM) return block(name, size, '0')
  const record = sizeRecord(size)
  const body = Buffer.alloc(BLOCK)
  body.write(record, 'ascii')
  return Buffer.concat([block(paxName(name), record.length, 'x'), body, block(name, 0, '0')])
}

/** The name of an entry's pax header. */
function paxName(name: string): string {
  return `PaxHeaders/${name.slice(name.lastIndexOf('/') + 1)}`
}

export function headerLength(size: number): number {
  return size < PAX_FROM ? BLOCK : 3 * BLOCK
}

/** Zero bytes after `size` bytes of content, up to the next block. */
export function paddingLength(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK
}

/** All bytes that an entry takes: header, content, padding. */
export function entryLength(size: number): number {
  return headerLength(size) + size + paddingLength(size)
}

function block(name: string, size: number, type: '0' | 'x'): Buffer {
  if (Buffer.byteLength(name) > MAX_NAME)
    throw new AirgapError('INTERNAL', `${name} is too long for a tar header`)
  const header = Buffer.alloc(BLOCK)
  header.write(name, 0)
  header.write('0000644\0' + '0000000\0' + '0000000\0', 100, 'ascii')
  header.write(`${octal(size, 11)}\0${octal(0, 11)}\0`, 124, 'ascii')
  header.write(type, 156, 'ascii')
  header.write('ustar\x0000', 257, 'ascii')
  header.write('0000000\0' + '0000000\0', 329, 'ascii')
  header.fill(' ', 148, 156)
  let sum = 0
  for (const byte of header) sum += byte
  header.write(`${octal(sum, 6)}\0 `, 148, 'ascii')
  return header
}

function octal(value: number, width: number): string {
  return value.toString(8).padStart(width, '0')
}

/** `LENGTH size=SIZE\n`, where LENGTH counts itself. */
function sizeRecord(size: number): string {
  const rest = ` size=${size}\n`
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length += 1
  return `${length}${rest}`
}

/** A header as read: the entry's name and size, and the length of the header itself, in bytes. */
export interface DecodedHeader {
  name: string
  size: number
  headerLength: number
}

/**
 * Reads the header at the start of `bytes` (pass up to 1,536) and accepts it only if {@link encodeHeader} makes exactly
 * the same bytes from its name and size. Then no other tar program can read another name, size, type or owner from it.
 *
 * @returns undefined for a zero block, which ends an archive.
 * @throws AirgapError `INVALID_CONTENT`, which says what is wrong with it.
 */
export function decodeHeader(bytes: Uint8Array): DecodedHeader | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (isPartOfHeader(buffer)) throw invalid('the archive ends in the middle of a header')
  if (isZero(buffer.subarray(0, BLOCK))) return undefined
  const isPax = buffer[TYPE] === PAX_TYPE
  const main = isPax ? buffer.subarray(2 * BLOCK, 3 * BLOCK) : buffer.subarray(0, BLOCK)
  const name = cString(main.subarray(0, MAX_NAME))
  const size = isPax ? paxSize(buffer.subarray(BLOCK, 2 * BLOCK)) : octalField(main.subarray(124, 136))
  const length = isPax ? 3 * BLOCK : BLOCK
  const longest = isPax
    ? Math.max(Buffer.byteLength(name), Buffer.byteLength(paxName(name)))
    : Buffer.byteLength(name)
  if (name === '' || size === undefined || longest > MAX_NAME) {
    throw invalid(`the header is not one that airgap writes (${whatIsOdd(main, isPax)})`)
  }
  const expected = encodeHeader(name, size)
  if (expected.length !== length || !expected.equals(buffer.subarray(0, length))) {
    throw invalid(
      `the header of ${JSON.stringify(name)} is not the one that airgap writes (${whatIsOdd(main, isPax)})`,
    )
  }
  return { name, size, headerLength: length }
}

/** Whether `bytes` end before the header that begins there. */
export function isPartOfHeader(bytes: Uint8Array): boolean {
  return bytes.length < BLOCK || (bytes[TYPE] === PAX_TYPE && bytes.length < 3 * BLOCK)
}

function paxSize(body: Buffer): number | undefined {
  const match = /^[0-9]{1,3} size=([0-9]{1,16})\n\0*$/.exec(body.toString('latin1'))
  const size = Number(match?.[1] ?? Number.NaN)
  return Number.isSafeInteger(size) ? size : undefined
}

function octalField(field: Buffer): number | undefined {
  const match = /^([0-7]{11})\0$/.exec(field.toString('latin1'))
  return match ? Number.parseInt(match[1] ?? '', 8) : undefined
}

function cString(field: Buffer): string {
  const end = field.indexOf(0)
  return field.subarray(0, end < 0 ? field.length : end).toString('utf8')
}

/** For the error message: what is unusual about the header. */
function whatIsOdd(header: Buffer, isPax: boolean): string {
  const types: Record<string, string> = {
    '1': 'a hard link',
    '2': 'a symbolic link',
    '3': 'a character device',
    '4': 'a block device',
    '5': 'a folder',
    '6': 'a pipe',
    '7': 'a contiguous file',
    g: 'a global pax header',
    L: 'a GNU long name',
    K: 'a GNU long link',
    S: 'a GNU sparse file',
  }
  const type = String.fromCharCode(header[156] ?? 0)
  if (types[type]) return `it is ${types[type]}`
  if (isPax) return 'its extended header holds something else than a size of at least 8 GiB'
  if (header.toString('latin1', 257, 265) !== 'ustar\x0000') return 'it is not in ustar format'
  if (header.toString('latin1', 100, 108) !== '0000644\0') return 'its mode is not 0644'
  if (header.toString('latin1', 108, 124) !== '0000000\x000000000\0') return 'its owner is not 0'
  if (header.toString('latin1', 136, 148) !== '00000000000\0') return 'its time is not 0'
  if (octalField(header.subarray(124, 136)) === undefined) return 'its size is not plain octal'
  return 'its bytes differ'
}

export function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false
  return true
}

function invalid(reason: string): AirgapError {
  return new AirgapError('INVALID_CONTENT', reason)
}
