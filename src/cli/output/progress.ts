import type { RegistryNotice, OnEvent, Phase, TransferEvent } from '../../index.ts'
import { formatCount, plural } from './format.ts'
import { formatBytes, formatDuration } from '../../bytes.ts'
import { escapeLine } from '../../text.ts'
import { type Log, log as standardError } from './log.ts'
import { noticeLine } from './notices.ts'
import { type Done, type ProgressSnapshot, ProgressState } from './progress-state.ts'
import { mirrorLine } from './render-images.ts'
import type { LiveLine } from './terminal.ts'
import { messageWith } from '../words/hints.ts'

const DOING: Record<Phase, string> = {
  resolve: 'Resolving',
  referrers: 'Listing referrers of',
  upstream: 'Verifying the upstream of',
  resume: 'Rechecking',
  reuse: 'Reusing',
  fetch: 'Fetching',
  check: 'Checking',
  upload: 'Uploading',
  'read-back': 'Reading back',
  sign: 'Signing',
  tag: 'Tagging',
}

/** Longer estimates are not shown. */
const MAX_LEFT_SECONDS = 100 * 3600

/** What a phase is going to do: `Fetching 12 images, 1.2 GB`. */
export function phaseText({ phase, images, blobs, bytes }: ProgressSnapshot): string {
  const amount = images ? plural(images.total, 'image') : plural(blobs?.total ?? 0, 'blob')
  return `${DOING[phase]} ${amount}${bytes.total > 0 ? `, ${formatBytes(bytes.total)}` : ''}`
}

/**
 * The progress on one line of at most this many columns. If there is no room, the least important parts are left out.
 * Contains no text from outside, and every character is one column wide.
 */
export function progressText(snapshot: ProgressSnapshot, columns: number): string {
  const { phase, images, blobs, bytes, bytesPerSecond, secondsLeft } = snapshot
  const doing = DOING[phase]
  const items = images
    ? `${formatCount(images.done)}/${formatCount(images.total)} images`
    : `${formatCount(blobs?.done ?? 0)}/${formatCount(blobs?.total ?? 0)} blobs`
  const isCounted = bytes.total > 0
  const amount = isCounted ? `${formatBytes(bytes.done)} of ${formatBytes(bytes.total)}` : undefined
  const rate = isCounted && bytesPerSecond !== undefined ? `${formatBytes(bytesPerSecond)}/s` : undefined
  const left =
    isCounted && secondsLeft !== undefined && secondsLeft < MAX_LEFT_SECONDS
      ? `${formatDuration(secondsLeft * 1000)} left`
      : undefined
  const choices = [
    [doing, items, amount, rate, left],
    [doing, items, amount, left],
    [doing, items, amount],
    [doing, items],
    [items],
  ].map((parts) => parts.filter((part) => part !== undefined).join('  '))
  return choices.find((text) => text.length <= columns) ?? items.slice(0, Math.max(0, columns))
}

/** How long we wait for a registry and, if there is room, the progress. */
export function heldText(
  snapshot: ProgressSnapshot | undefined,
  registry: string,
  leftMs: number,
  columns: number,
): string {
  const waiting = `Waiting ${formatDuration(leftMs)} for ${escapeLine(registry)}`
  if (waiting.length > columns) return waiting.slice(0, Math.max(0, columns))
  const rest = snapshot && progressText(snapshot, columns - waiting.length - 2)
  return rest ? `${waiting}  ${rest}` : waiting
}

/** How often to report that a registry is busy. */
const HOLD_NEWS_MS = 60_000
/** A wait that is longer than this, and at least twice as long as the last one reported, is reported at once. */
const LONG_HOLD_MS = 10_000
const HEARTBEAT_MS = 15_000
/**
 * Phases that transfer an image's bytes. Text reports each image only there; the JSON log has all phases, and blobs.
 */
const TOLD_TO_PEOPLE: ReadonlySet<Phase> = new Set<Phase>(['fetch', 'upload'])
/** The longest progress line where there is no terminal to limit it. */
const ANY_COLUMNS = 1000

/**
 * Shows an engine's events on standard error: on a terminal as one live line, elsewhere as a line for each finished
 * image and a heartbeat, without control codes; with `--log-format json` as one object per line.
 */
export class Progress {
  readonly #log: Log
  readonly #state = new ProgressState()
  readonly #live: LiveLine | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #isStopped = false
  /** The last registry for which we wait. */
  #held: { registry: string; until: number } | undefined

  /** The last reported wait for each registry. */
  readonly #toldHolds = new Map<string, { began: number; delayMs: number }>()

  constructor(log: Log = standardError) {
    this.#log = log
    this.#live = log.liveLine((columns) => this.#liveText(columns))
  }

  /** The listener for an engine's events. */
  get onEvent(): OnEvent {
    return this.#on
  }

  /** Ends the live line. Call it before printing the result. */
  stop(): void {
    this.#isStopped = true
    clearInterval(this.#heartbeat)
    this.#live?.stop()
  }

  #on = (event: TransferEvent): void => {
    // Ignores transfers that finish after a failure.
    if (this.#isStopped) return
    this.#state.apply(event, performance.now())
    switch (event.type) {
      case 'phase':
        this.#begin()
        break
      case 'item':
      case 'image':
        this.#finished(event)
        break
      case 'failed':
        this.#failed(event)
        break
      case 'warning':
        this.#warning(messageWith(event.message, event.hints))
        break
      case 'registry':
        this.#notice(event.notice)
        break
      case 'mirrors':
        for (const use of event.inUse) this.#log.note(mirrorLine(use))
        break
      case 'resume':
        this.#resumed(event)
        break
      case 'signing':
        this.#signing(event)
        break
      case 'more':
      case 'progress':
        break
    }
  }

  #resumed({ file, bytes, total, begun }: Extract<TransferEvent, { type: 'resume' }>): void {
    const since = begun.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')
    const message = `Resuming ${file}: ${formatBytes(bytes)} of ${formatBytes(total)} are there, begun ${since}`
    this.#log.write(
      { level: 'info', event: 'resume', message, file, bytes: { done: bytes, total }, begun },
      escapeLine(message),
    )
  }

  /** Leaves the terminal to the signing program, which may prompt, until the next phase begins. */
  #signing({ by }: Extract<TransferEvent, { type: 'signing' }>): void {
    clearInterval(this.#heartbeat)
    this.#live?.stop()
    const message = `Signing with ${by}`
    this.#log.write({ level: 'info', event: 'signing', message, by }, escapeLine(message))
  }

  #begin(): void {
    clearInterval(this.#heartbeat)
    const snapshot = this.#snapshot()
    if (!snapshot) return
    if (this.#live) {
      this.#live.start()
      return
    }
    const message = phaseText(snapshot)
    this.#log.write({ level: 'info', event: 'phase', message, phase: snapshot.phase, ...counts(snapshot) })
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS)
    this.#heartbeat.unref()
  }

  #beat(): void {
    const snapshot = this.#snapshot()
    if (!snapshot) return
    const { phase, bytesPerSecond, secondsLeft } = snapshot
    const message = progressText(snapshot, ANY_COLUMNS)
    this.#log.write(
      {
        level: 'info',
        event: 'progress',
        message,
        phase,
        ...counts(snapshot),
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
        ...(secondsLeft === undefined ? {} : { secondsLeft }),
      },
      `… ${message}`,
    )
  }

  #finished(event: Extract<TransferEvent, { type: 'item' | 'image' }>): void {
    const snapshot = this.#snapshot()
    // Checked items are many and say nothing new. Faults are in the result.
    if (!snapshot || this.#live || event.outcome === 'checked') return
    const { name, bytes: size, outcome } = event
    const kind = event.type === 'image' || !snapshot.blobs ? 'image' : 'blob'
    if (this.#log.format === 'text' && (kind === 'blob' || !TOLD_TO_PEOPLE.has(snapshot.phase))) return
    const digest = event.type === 'item' && event.digest !== undefined ? { digest: event.digest } : {}
    const message = `${outcome}  ${escapeLine(name)}${size > 0 ? `  ${formatBytes(size)}` : ''}`
    const { phase } = snapshot
    this.#log.write(
      {
        level: 'info',
        event: 'item',
        message: `${outcome} ${name}`,
        phase,
        kind,
        name,
        outcome,
        size,
        ...digest,
      },
      `  ${message}`,
    )
  }

  #notice(notice: RegistryNotice): void {
    if (notice.type === 'held') {
      if (notice.delayMs >= 1000) this.#held = notice
      if (!this.#isNews(notice)) return
    }
    // Only for the JSON log. People see the route in errors.
    if (notice.type === 'way' && this.#log.format === 'text') return
    const { entry, text } = noticeLine(notice, Date.now())
    this.#log.write(entry, text)
  }

  /** Whether to report a wait: once a minute for each registry, or at once if it is much longer than the last one. */
  #isNews({ registry, delayMs, until }: Extract<RegistryNotice, { type: 'held' }>): boolean {
    const began = until - delayMs
    const told = this.#toldHolds.get(registry)
    if (told && began - told.began < HOLD_NEWS_MS && delayMs < Math.max(2 * told.delayMs, LONG_HOLD_MS))
      return false
    this.#toldHolds.set(registry, { began, delayMs })
    return true
  }

  #failed({ name, code, message }: Extract<TransferEvent, { type: 'failed' }>): void {
    this.#log.write({ level: 'warning', event: 'failed', message, name, code }, warningText(message))
  }

  #warning(message: string): void {
    this.#log.write({ level: 'warning', event: 'warning', message }, warningText(message))
  }

  #snapshot(): ProgressSnapshot | undefined {
    return this.#state.snapshot(performance.now())
  }

  #liveText(columns: number): string {
    const snapshot = this.#snapshot()
    const left = (this.#held?.until ?? 0) - Date.now()
    if (!this.#held || left <= 0) return snapshot ? progressText(snapshot, columns) : ''
    return heldText(snapshot, this.#held.registry, left, columns)
  }
}

function warningText(message: string): string {
  return `Warning: ${escapeLine(message)}`
}

function counts({ images, blobs, bytes }: ProgressSnapshot): { images?: Done; blobs?: Done; bytes: Done } {
  return { ...(images ? { images } : {}), ...(blobs ? { blobs } : {}), bytes }
}
