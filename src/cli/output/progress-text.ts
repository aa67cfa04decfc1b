import type { Phase } from '../../content/events.ts'
import { escapeLine, formatBytes, formatCount, formatDuration, plural } from './format.ts'
import type { ProgressSnapshot } from './progress-state.ts'

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

/** Longer than this is no estimate. */
const MAX_LEFT_SECONDS = 100 * 3600

/** What a phase is going to do: `Fetching 12 images, 1.2 GB`. */
export function phaseText({ phase, images, blobs, bytes }: ProgressSnapshot): string {
  const amount = images ? plural(images.total, 'image') : plural(blobs?.total ?? 0, 'blob')
  return `${DOING[phase]} ${amount}${bytes.total > 0 ? `, ${formatBytes(bytes.total)}` : ''}`
}

/**
 * How far it is, on one line of at most so many columns: what there is no room for is left out, the least important
 * first. Holds no foreign text, and every character is one column wide.
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

/** How long a registry is waited for, and how far everything is, where there is room for that. */
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
