import { AirgapError, messageOf } from '../../errors.ts'
import {
  isAllTagged,
  serializeReceipt,
  userStateFolder,
  type Receipt,
  type SigningKey,
  type Report,
} from '../../index.ts'
import { jsonText } from './format.ts'
import { log } from './log.ts'
import { SignedDocument } from './signed-document.ts'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { keepFailureReport, keepReport, type ReportFile, reserveReport } from './reports.ts'

/** The files that a push writes: its receipt, and the report of the verification before it. */
export class PushRecords {
  readonly #given: { receipt?: string | undefined; report?: string | undefined }
  readonly #key: SigningKey | undefined
  #receipt: SignedDocument | undefined
  #report: SignedDocument | undefined
  #made: Report | undefined
  /** When the push broke off, as in file names. */
  #brokeOff: string | undefined

  /** @param given the files that the command line names. */
  constructor(
    given: { receipt?: string | undefined; report?: string | undefined },
    key: SigningKey | undefined,
  ) {
    this.#given = given
    this.#key = key
  }

  /** Reserves the file of a requested report, which is also written for a refused bundle. */
  async reserveReport(): Promise<void> {
    const { report } = this.#given
    if (report !== undefined) this.#report = await reserveReport(report, this.#key)
  }

  /**
   * Reserves all files, before any request to a registry. If no receipt is named and the current folder is not
   * writable, as on a read-only medium, they go to the user's state folder, with a warning.
   * @throws AirgapError `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `FILE`, `DISK_FULL`
   */
  async reserve(bundleName: string): Promise<void> {
    const path = receiptPath(this.#given.receipt, bundleName, new Date())
    try {
      await this.#reserveAt(path)
    } catch (error) {
      const isPlace = error instanceof AirgapError && (error.code === 'FILE' || error.code === 'DISK_FULL')
      const folder = userStateFolder(process.env)
      if (!isPlace || this.#given.receipt !== undefined || folder === undefined) throw error
      const records = join(folder, 'receipts')
      await this.#receipt?.discard()
      await mkdir(records, { recursive: true, mode: 0o700 }).catch(() => {
        // The first error, about the user's current folder, is the useful one.
        throw error
      })
      await this.#reserveAt(join(records, path))
      log.warning(
        `${error.message}. The receipt of this push goes to ${records}. To choose another place: --receipt FILE`,
      )
    }
  }

  async #reserveAt(path: string): Promise<void> {
    this.#receipt = await SignedDocument.reserve(path, this.#key)
    this.#report ??= await reserveReport(pushReportPath(undefined, path), this.#key)
  }

  /**
   * Writes the receipt of a push that is incomplete, or that broke off after tags were set.
   * @returns a message for the user, and the receipt's file.
   */
  async keepIncomplete(receipt: Receipt): Promise<{ message: string; file: string }> {
    return keepIncomplete(receipt, this.#incomplete(this.#receipt), this.#key)
  }

  /**
   * For the library's `onReport`: a report belongs to a receipt, which is written first, or is about a refused bundle.
   */
  async onReport(report: Report): Promise<void> {
    const given = this.#given.report === undefined ? undefined : this.#report
    if (report.receipt?.complete === true) {
      this.#made = report
    } else if (report.receipt) {
      const file = this.#incomplete(this.#report)
      await keepFailureReport(report, () => SignedDocument.reserve(file, this.#key))
    } else if (given) {
      await keepFailureReport(report, async () => given)
    }
  }

  /**
   * Writes receipt and report of a complete push.
   * @throws AirgapError `FILE`, `DISK_FULL`, `OUTPUT_EXISTS`, and those of the key
   */
  async keep(receipt: Receipt): Promise<{ receiptFile: string; report: ReportFile }> {
    const [own, beside, made] = [this.#receipt, this.#report, this.#made]
    if (!own || !beside || !made) throw new AirgapError('INTERNAL', 'a push ended without its records')
    await keepReceipt(own, receipt)
    const subject = `the push is complete and its receipt is in ${own.path}`
    return { receiptFile: own.path, report: await keepReport(beside, made, subject) }
  }

  /** Releases the reserved files that were not used. */
  async discard(): Promise<void> {
    await this.#receipt?.discard()
    await this.#report?.discard()
  }

  /** The file for the record of a push that broke off: not the name that the next run needs. */
  #incomplete(output: SignedDocument | undefined): string {
    this.#brokeOff ??= compact(new Date())
    return `${output?.path ?? ''}.${this.#brokeOff}.incomplete`
  }
}

/**
 * The file of a receipt: the given one, or one in the current folder named after the bundle and the time, so that no
 * push overwrites the receipt of another.
 */
export function receiptPath(given: string | undefined, bundleName: string, now: Date): string {
  if (given === '-') {
    throw new AirgapError('USAGE', '--receipt - is not possible: a receipt needs a file', {
      hint: 'To get it on standard output too, use --json.',
    })
  }
  if (given !== undefined) return given
  const name =
    bundleName
      .replaceAll(/[^A-Za-z0-9._-]+/g, '_')
      .replace(/^[.-]+/, '')
      .slice(0, 100) || 'bundle'
  return `${name}.${compact(now)}.receipt.json`
}

/** The file of a push's report: the given one, or one next to the receipt with a matching name. */
export function pushReportPath(given: string | undefined, receipt: string): string {
  return given ?? `${receipt.replace(/(?:\.receipt)?\.json$/, '')}.report.json`
}

/**
 * Writes the receipt of a complete push. If that fails, prints it on standard error, because nothing else says which
 * tags were moved.
 * @throws AirgapError `FILE`, `DISK_FULL`, and those of the key
 */
export async function keepReceipt(output: SignedDocument, receipt: Receipt): Promise<void> {
  try {
    await output.write(serializeReceipt(receipt))
  } catch (error) {
    const message = 'The push is complete, but its receipt cannot be written. The receipt is:'
    log.write({ level: 'error', event: 'receipt', message, receipt }, `${message}\n${jsonText(receipt)}`)
    throw error
  }
}

/**
 * Writes the receipt of a push that is incomplete, or that broke off after tags were set, to a separate file, so that
 * the same command can be run again. If that fails, prints it.
 * @returns a message for the user, and the receipt's file.
 */
export async function keepIncomplete(
  receipt: Receipt,
  file: string,
  key: SigningKey | undefined,
): Promise<{ message: string; file: string }> {
  const what = isAllTagged(receipt)
    ? 'the push is not complete, although all tags are set'
    : 'the push broke off after tags had been set'
  try {
    const output = await SignedDocument.reserve(file, key)
    await output.write(serializeReceipt(receipt))
    return { message: `${what}; the receipt is ${file}`, file }
  } catch (error) {
    const message = `${what.charAt(0).toUpperCase()}${what.slice(1)}. The record of the push is:`
    log.write({ level: 'warning', event: 'receipt', message, receipt }, `${message}\n${jsonText(receipt)}`)
    const reason = `the record of the push, above, could not be written: ${messageOf(error)}`
    return { message: reason, file: 'not written' }
  }
}

/** A time in the form for file names. */
export function compact(time: Date): string {
  return time.toISOString().replaceAll(/[-:.]/g, '')
}
