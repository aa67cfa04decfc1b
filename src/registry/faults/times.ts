import { formatDuration } from '../../duration.ts'

/** `2026-11-21 14:30 UTC`, to be compared with another time of the same form. */
export function utcText(time: number): string {
  return `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/**
 * A moment ahead as somebody at this machine reads it off a clock: `14:30:05 GMT+1 (in 3 min 20 s)`, with the date
 * where it is not today.
 */
export function aheadText(time: number, now: number = Date.now()): string {
  const at = new Date(time)
  const isToday = at.toDateString() === new Date(now).toDateString()
  const text = new Intl.DateTimeFormat('en-GB', {
    ...(isToday ? {} : { day: 'numeric', month: 'short' }),
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
  }).format(at)
  return `${text} (in ${formatDuration(Math.max(0, time - now))})`
}
