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

/** What a push leaves behind in files: its receipt, and the report of the verification that went before. */
export class PushRecords {
  readonly #given: { receipt?: string | undefined; report?: string | undefined }
  readonly #key: SigningKey | undefined
  #receipt: SignedDocument | undefined
  #report: SignedDocument | undefined
  #made: Report | undefined
  /** When, as it stands in names. */
  #brokeOff: string | undefined

  /** @param given the files that the command line names. */
  constructor(
    given: { receipt?: string | undefined; report?: string | undefined },
    key: SigningKey | undefined,
  ) {
    this.#given = given
    this.#key = key
  }

  /** Takes the name of a report that was asked for: it is written of a bundle that is refused, too. */
  async reserveReport(): Promise<void> {
    const { report } = this.#given
    if (report !== undefined) this.#report = await reserveReport(report, this.#key)
  }

  /**
   * Takes the names of all files, before anything is asked of a registry. Where no receipt is named and the present folder
   * cannot be written, as on a medium that is mounted read-only, they go to the user's state folder, which is said.
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
        // Which folder the user is in is what has to be told.
        throw error
      })
      await this.#reserveAt(join(records, path))
      log.warning(
        `${error.message}. The receipt of this push goes to ${records}; --receipt FILE names another place`,
      )
    }
  }

  async #reserveAt(path: string): Promise<void> {
    this.#receipt = await SignedDocument.reserve(path, this.#key)
    this.#report ??= await reserveReport(pushReportPath(undefined, path), this.#key)
  }

  /**
   * Keeps the receipt of a push that is incomplete, or broke off when tags were set.
   * @returns what to tell the user, and where it is.
   */
  async keepIncomplete(receipt: Receipt): Promise<{ message: string; file: string }> {
    return keepIncomplete(receipt, this.#incomplete(this.#receipt), this.#key)
  }

  /** The library's `onReport`: a report goes with a receipt, which is written first, or tells of a refused bundle. */
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
   * Writes receipt and report of a push that is complete.
   * @throws AirgapError `FILE`, `DISK_FULL`, `OUTPUT_EXISTS`, and those of the key
   */
  async keep(receipt: Receipt): Promise<{ receiptFile: string; report: ReportFile }> {
    const [own, beside, made] = [this.#receipt, this.#report, this.#made]
    if (!own || !beside || !made) throw new AirgapError('INTERNAL', 'a push has ended without its records')
    await keepReceipt(own, receipt)
    const subject = `the push is complete and its receipt is in ${own.path}`
    return { receiptFile: own.path, report: await keepReport(beside, made, subject) }
  }

  /** Gives the names back that were not used. */
  async discard(): Promise<void> {
    await this.#receipt?.discard()
    await this.#report?.discard()
  }

  /** Where the record of a push goes that broke off: beside the name that the next run needs. */
  #incomplete(output: SignedDocument | undefined): string {
    this.#brokeOff ??= compact(new Date())
    return `${output?.path ?? ''}.${this.#brokeOff}.incomplete`
  }
}

/**
 * Where a receipt goes: the file given, or one in the present folder that says which bundle and when, so that
 * no push overwrites the receipt of another.
 */
export function receiptPath(given: string | undefined, bundleName: string, now: Date): string {
  if (given === '-') {
    throw new AirgapError('USAGE', '--receipt - : a receipt goes to a file', {
      hint: 'To have it on standard output too, use --json.',
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

/** Where the report of a push goes: the file given, or one beside the receipt and named like it. */
export function pushReportPath(given: string | undefined, receipt: string): string {
  return given ?? `${receipt.replace(/(?:\.receipt)?\.json$/, '')}.report.json`
}

/**
 * Writes the receipt of a push that came to its end; where it cannot be written, it is printed on standard error, because
 * nothing else says which tags were moved.
 * @throws AirgapError `FILE`, `DISK_FULL`, and those of the key
 */
export async function keepReceipt(output: SignedDocument, receipt: Receipt): Promise<void> {
  try {
    await output.write(serializeReceipt(receipt))
  } catch (error) {
    const message = 'The push is complete, but its receipt cannot be written. This is it:'
    log.write({ level: 'error', event: 'receipt', message, receipt }, `${message}\n${jsonText(receipt)}`)
    throw error
  }
}

/**
 * Keeps the receipt of a push that is incomplete, or broke off when tags were set: under a name of its own, so that the same command
 * can be run again. Where even that cannot be written, it is printed.
 * @returns what to tell the user, and where it is.
 */
export async function keepIncomplete(
  receipt: Receipt,
  file: string,
  key: SigningKey | undefined,
): Promise<{ message: string; file: string }> {
  const [what, which] = isAllTagged(receipt)
    ? ['the push is not complete, though all tags are set', 'what was done']
    : ['the push broke off when tags had been set', 'which ones']
  try {
    const output = await SignedDocument.reserve(file, key)
    await output.write(serializeReceipt(receipt))
    return { message: `${what}; ${which} stands in ${file}`, file }
  } catch (error) {
    const message = `${what.charAt(0).toUpperCase()}${what.slice(1)}. This is the record of that:`
    log.write({ level: 'warning', event: 'receipt', message, receipt }, `${message}\n${jsonText(receipt)}`)
    const reason = `the record of the push, above, could not be written: ${messageOf(error)}`
    return { message: reason, file: 'not written' }
  }
}

/** A time as names of files have it. */
export function compact(time: Date): string {
  return time.toISOString().replaceAll(/[-:.]/g, '')
}
