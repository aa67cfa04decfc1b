import type { TrustOptions } from '../authenticate.ts'
import type { OpenedBundle } from '../opened-bundle.ts'
import type { Receipt } from '../../push/receipt.ts'
import type { Report, ReportedCommand } from './document.ts'

/** How a verification is put on record. */
export interface ReportOptions {
  /**
   * Is given the report as soon as there is a verdict, of a bundle that is refused as well, before the promise is settled.
   * What it throws takes the place of the result. `serializeReport` makes its file, `signBytes` signs that.
   */
  onReport?: ((report: Report) => void | Promise<void>) | undefined
  /** What the report says of the command line that has asked for it. */
  reportCommand?: ReportedCommand | undefined
}

/** Makes the report of one verification, which begins now, and hands it over: once, and only where somebody wants it. */
export class Reporting {
  readonly #options: ReportOptions
  readonly #start = { time: Date.now(), steady: performance.now() }
  #subject: { opened: OpenedBundle; trust: TrustOptions } | undefined

  constructor(options: ReportOptions) {
    this.#options = options
  }

  get isWanted(): boolean {
    return this.#options.onReport !== undefined
  }

  /** The bundle that is being verified; from here on there is something to report. */
  of(opened: OpenedBundle, trust: TrustOptions): void {
    this.#subject = { opened, trust }
  }

  /** @param receipt of the push that the verification belongs to. */
  async send(receipt?: Receipt): Promise<void> {
    const subject = this.#subject
    const { onReport, reportCommand } = this.#options
    this.#subject = undefined
    if (!subject || !onReport) return
    const { makeReport } = await import('./report.ts')
    const { serializeReceipt } = await import('../../push/receipt.ts')
    const { digestOf } = await import('../../oci/digest.ts')
    await onReport(
      makeReport(subject.opened, {
        start: this.#start,
        trust: subject.trust,
        command: reportCommand,
        receipt: receipt && {
          digest: digestOf(serializeReceipt(receipt)),
          complete: receipt.complete,
        },
      }),
    )
  }
}
