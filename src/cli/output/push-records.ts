import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { AirgapError } from '../../errors.ts'
import { userStateFolder } from '../../registry/blobs/uploads/state/folder.ts'
import type { Receipt } from '../../push/receipt.ts'
import type { Report } from '../../verify/report/document.ts'
import type { SigningKey } from '../../trust/keys.ts'
import { log } from './log.ts'
import { compact, keepIncomplete, keepReceipt, pushReportPath, receiptPath } from './receipts.ts'
import { keepFailureReport, keepReport, reserveReport, type ReportFile } from './reports.ts'
import { SignedDocument } from './signed-document.ts'

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
