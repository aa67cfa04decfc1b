import { oneLine } from './http-errors.ts'

// Bytes are taken as they come, whatever Content-Encoding says: web servers put it on layers that are gzip files
// themselves. Only where they are not what their digest says is it the likely reason.

/** Completes "what comes from there …". */
export function encodingText(encoding: string): string {
  return `comes with Content-Encoding: ${oneLine(encoding)}, although it was asked for as it is`
}

/** The way out of content that is changed on its way. */
export function encodingHint(host: string): string {
  return `Most likely a proxy in front of ${host}, or on the way there, compresses what it passes on. Registries' content must not be changed: have compression turned off for it (nginx: gzip off), or use another way.`
}
