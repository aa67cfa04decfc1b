import { formatDuration } from '../../../bytes.ts'

/** A time without its zeros: `6 h`, `5 min`. */
export function formatSpan(milliseconds: number): string {
  return formatDuration(milliseconds).replace(/ 0 (?:s|min)$/, '')
}

/** A moment by the local clock: `14:03:10`, with the date where that is another day than `now`'s. */
export function formatTime(moment: number, now: number): string {
  const then = new Date(moment)
  if (Number.isNaN(then.getTime())) return 'a time out of reach'
  const pad = (value: number): string => String(value).padStart(2, '0')
  const time = [then.getHours(), then.getMinutes(), then.getSeconds()].map(pad).join(':')
  if (then.toDateString() === new Date(now).toDateString()) return time
  return `${then.getFullYear()}-${pad(then.getMonth() + 1)}-${pad(then.getDate())} ${time}`
}
