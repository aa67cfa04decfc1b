import { createHash } from 'node:crypto'
import { AirgapError } from '../../errors.ts'

/*
 * A journal is text, a record a line: a checksum, a blank, JSON without line breaks. What is appended when a machine
 * goes down may arrive in part; the checksum tells.
 */

const CHECKSUM_LENGTH = 16
const NEWLINE = 0x0a
const BLANK = 0x20

/** One record as its line. */
export function encodeLine(record: object): Buffer {
  const json = Buffer.from(JSON.stringify(record))
  return Buffer.concat([Buffer.from(`${checksumOf(json)} `), json, Buffer.from('\n')])
}

/** A line's JSON, and where the next line begins. */
export interface Line {
  json: Buffer
  end: number
}

/**
 * The lines of a journal up to the last line break: what stands behind that was being written when its run ended.
 * @throws AirgapError `INVALID_CONTENT` at a line that is not what was written.
 */
export function* decodeLines(bytes: Buffer): Generator<Line, void, undefined> {
  let count = 0
  for (let start = 0; start < bytes.length;) {
    const newline = bytes.indexOf(NEWLINE, start)
    if (newline < 0) return
    count += 1
    const json = bytes.subarray(start + CHECKSUM_LENGTH + 1, newline)
    const checksum = bytes.toString('latin1', start, start + CHECKSUM_LENGTH)
    if (bytes[start + CHECKSUM_LENGTH] !== BLANK || checksum !== checksumOf(json)) {
      throw new AirgapError('INVALID_CONTENT', `line ${count} is damaged`)
    }
    start = newline + 1
    yield { json, end: start }
  }
}

function checksumOf(json: Buffer): string {
  return createHash('sha256').update(json).digest('hex').slice(0, CHECKSUM_LENGTH)
}
