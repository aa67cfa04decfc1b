import { AirgapError } from '../../errors.ts'
import { decodeLines } from './lines.ts'
import { HeldBlobs } from './held.ts'
import { parseHeader, type JournalHeader } from './header.ts'
import { parseRecord } from './records.ts'

/** The most that is read of a journal. Bytes. */
export const MAX_JOURNAL = 256 * 1024 * 1024

/** A journal as it was found. */
export interface ReadJournal {
  header: JournalHeader
  held: HeldBlobs
  /** Bytes up to the end of the last line that is whole: what is appended belongs there. */
  length: number
  /** Whether this is still the machine's same start, so that nothing but the disk can have lost what was written. */
  isSameBoot: boolean
}

/**
 * Reads a journal. What it says of progress is a hint for where to look: the bytes are hashed before they are believed.
 *
 * A last line without its end is normal. So is anything else behind the last sync when the machine has gone down since,
 * because pages reach a disk in any order: then what comes before counts. All other damage means that nothing counts.
 *
 * @param run how this start of the machine is called.
 * @returns undefined when not even the header was written.
 * @throws AirgapError `INVALID_CONTENT`, `NAME_CONFLICT`
 */
export function parseJournal(bytes: Buffer, run: string): ReadJournal | undefined {
  let header: JournalHeader | undefined
  const held = new HeldBlobs()
  let length = 0
  try {
    for (const { json, end } of decodeLines(bytes)) {
      if (header) held.apply(parseRecord(json, `record ${held.count + 1}`))
      else header = parseHeader(json, 'its header')
      length = end
    }
  } catch (error) {
    const hasGoneDown = held.run !== undefined && held.run !== run
    if (!header || !hasGoneDown || !(error instanceof AirgapError)) throw error
  }
  if (!header) return undefined
  const isSameBoot = held.run === run
  held.resumeOn(run)
  return { header, held, length, isSameBoot }
}
