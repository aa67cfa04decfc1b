import { compareBytes } from '../oci/json.ts'

/** The longest reason why an image was left out, in characters. */
export const MAX_REASON = 1000

/** Whether a text can be such a reason: one line, neither empty nor too long. */
export function isReason(text: string): boolean {
  return text.length > 0 && text.length <= MAX_REASON && !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(text)
}

/** Turns a message, which may quote a registry, into such a reason; empty if nothing printable is left. */
export function reasonOf(message: string): string {
  const line = message
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .toWellFormed()
  if (line.length <= MAX_REASON) return line
  const cut = line.slice(0, MAX_REASON - 1)
  // Do not keep half of a surrogate pair.
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`
}

/** Whether images are sorted by source, without duplicates. */
export function isSorted(images: readonly { source: string }[]): boolean {
  return images.every(({ source }, i) => i === 0 || compareBytes(images[i - 1]?.source ?? '', source) < 0)
}

/** The sources that are listed as skipped although they are among the images. */
export function alsoThere(
  images: readonly { source: string }[],
  skipped: readonly { source: string }[] = [],
): string[] {
  const there = new Set(images.map(({ source }) => source))
  return skipped.flatMap(({ source }) => (there.has(source) ? [source] : []))
}
