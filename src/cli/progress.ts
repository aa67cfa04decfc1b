import type { Ora } from 'ora'
import type { OnEvent, Phase, TransferEvent } from '../transfer/events.ts'
import { escapeLine, formatBytes, formatDuration, plural } from './format.ts'
import { fitted } from './wrap.ts'

const WORDS: Record<Phase, { doing: string; items: [string, string] }> = {
  resolve: { doing: 'Resolving', items: ['image', 'images'] },
  reuse: { doing: 'Reusing', items: ['blob', 'blobs'] },
  fetch: { doing: 'Fetching', items: ['blob', 'blobs'] },
  check: { doing: 'Checking', items: ['entry', 'entries'] },
  upload: { doing: 'Uploading', items: ['blob', 'blobs'] },
  'read-back': { doing: 'Reading back', items: ['blob', 'blobs'] },
  tag: { doing: 'Tagging', items: ['image', 'images'] },
}

const HEARTBEAT_MS = 15_000

/**
 * Draws an engine's events on standard error: on a terminal one live line, elsewhere a line for each finished
 * item and a heartbeat, without control codes.
 */
export class Progress {
  readonly #isLive: boolean
  readonly #isQuiet: boolean
  #spinner: Ora | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #phase: Phase | undefined
  #started = 0
  #items = 0
  #totalItems = 0
  #bytes = 0
  #totalBytes = 0
  #isStopped = false

  constructor({ quiet }: { quiet: boolean }) {
    this.#isQuiet = quiet
    this.#isLive = process.stderr.isTTY && !process.env.CI && process.env.TERM !== 'dumb'
  }

  /** Loads what the terminal needs. */
  async start(): Promise<OnEvent> {
    if (this.#isLive && !this.#isQuiet) {
      const { default: ora } = await import('ora')
      // Typed keys stay in the terminal's hands: a prompt may follow.
      this.#spinner = ora({ stream: process.stderr, discardStdin: false })
    }
    return this.#on
  }

  /** Ends the live line; what is printed afterwards stands alone. */
  stop(): void {
    this.#isStopped = true
    clearInterval(this.#heartbeat)
    this.#spinner?.stop()
  }

  #on = (event: TransferEvent): void => {
    // What still ends after a failure is of no interest any more.
    if (this.#isStopped) return
    switch (event.type) {
      case 'phase':
        this.#begin(event)
        break
      case 'progress':
        this.#bytes += event.bytes
        this.#draw()
        break
      case 'item':
        this.#items += 1
        // Entries that are as they should be are many, and say nothing; those that are not are in the result.
        if (!this.#spinner && event.outcome !== 'checked') this.#line(itemLine(event))
        this.#draw()
        break
      case 'warning':
        this.#always(`Warning: ${escapeLine(event.message)}`)
        break
      case 'registry':
        this.#notice(event.notice)
        break
    }
  }

  #begin({ phase, items, bytes }: Extract<TransferEvent, { type: 'phase' }>): void {
    this.#phase = phase
    this.#items = 0
    this.#totalItems = items
    this.#bytes = 0
    this.#totalBytes = bytes
    this.#started = performance.now()
    clearInterval(this.#heartbeat)
    if (items === 0) return
    if (this.#spinner) {
      this.#spinner.start()
      this.#draw()
    } else {
      const [one, many] = WORDS[phase].items
      this.#line(
        `${WORDS[phase].doing} ${plural(items, one, many)}${bytes > 0 ? `, ${formatBytes(bytes)}` : ''}`,
      )
      this.#heartbeat = setInterval(() => this.#line(`… ${this.#summary()}`), HEARTBEAT_MS)
      this.#heartbeat.unref()
    }
  }

  #notice(notice: Extract<TransferEvent, { type: 'registry' }>['notice']): void {
    if (notice.type === 'retry') {
      const wait = notice.delayMs >= 1000 ? ` in ${formatDuration(notice.delayMs)}` : ''
      this.#line(`Retrying${wait}: ${escapeLine(notice.reason)}`)
    } else if (notice.type === 'insecure') {
      this.#always(`Warning: ${escapeLine(notice.registry)} is spoken to without checking who it is`)
    } else {
      this.#always(`Warning: ${escapeLine(notice.message)}`)
    }
  }

  #draw(): void {
    if (this.#spinner?.isSpinning) this.#spinner.text = this.#summary()
  }

  #summary(): string {
    if (!this.#phase) return ''
    const { doing, items } = WORDS[this.#phase]
    let text = `${doing}  ${this.#items}/${this.#totalItems} ${items[1]}`
    if (this.#totalBytes > 0) {
      text += `  ${formatBytes(this.#bytes)} of ${formatBytes(this.#totalBytes)}`
      const elapsed = performance.now() - this.#started
      const rate = elapsed > 1000 ? this.#bytes / elapsed : 0
      if (rate > 0 && this.#bytes < this.#totalBytes) {
        const left = (this.#totalBytes - this.#bytes) / rate
        text += `  ${formatBytes(rate * 1000)}/s  ${formatDuration(left)} left`
      }
    }
    return text
  }

  #line(text: string): void {
    if (!this.#isQuiet) this.#write(text)
  }

  #always(text: string): void {
    this.#write(text)
  }

  #write(text: string): void {
    const wasSpinning = this.#spinner?.isSpinning ?? false
    if (wasSpinning) this.#spinner?.clear()
    process.stderr.write(`${fitted(text, process.stderr)}\n`)
    if (wasSpinning) this.#spinner?.render()
  }
}

function itemLine({ name, bytes, outcome }: Extract<TransferEvent, { type: 'item' }>): string {
  return `  ${outcome}  ${escapeLine(name)}${bytes > 0 ? `  ${formatBytes(bytes)}` : ''}`
}
