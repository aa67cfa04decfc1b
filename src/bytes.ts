const UNITS = ['kB', 'MB', 'GB', 'TB']

/** `1.2 GB`, in units of 1,000. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  let value = bytes
  let unit = -1
  do {
    value /= 1000
    unit += 1
  } while (value >= 999.5 && unit < UNITS.length - 1)
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`
}

/** `45 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}

/** A duration without trailing zeros: `6 h`, `5 min`. */
export function formatSpan(milliseconds: number): string {
  return formatDuration(milliseconds).replace(/ 0 (?:s|min)$/, '')
}

/** A moment in local time: `14:03:10`, with the date if that is not the day of `now`. */
export function formatTime(moment: number, now: number): string {
  const then = new Date(moment)
  if (Number.isNaN(then.getTime())) return 'an unknown time'
  const pad = (value: number): string => String(value).padStart(2, '0')
  const time = [then.getHours(), then.getMinutes(), then.getSeconds()].map(pad).join(':')
  if (then.toDateString() === new Date(now).toDateString()) return time
  return `${then.getFullYear()}-${pad(then.getMonth() + 1)}-${pad(then.getDate())} ${time}`
}

/** Formats milliseconds since 1970 as RFC 3339 in UTC with whole seconds. */
export function formatMoment(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, 'Z')
}
