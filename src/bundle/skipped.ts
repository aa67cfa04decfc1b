import { compareBytes } from '../oci/json.ts'

/** The most characters that the reason has for which an image was left out. */
export const MAX_REASON = 1000

/** Whether a text can stand as such a reason: one line that is not empty and not too long. */
export function isReason(text: string): boolean {
  return text.length > 0 && text.length <= MAX_REASON && !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(text)
}

/** A message, which may quote a registry, as such a reason; empty where nothing is left of it. */
export function reasonOf(message: string): string {
  const line = message
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .toWellFormed()
  if (line.length <= MAX_REASON) return line
  const cut = line.slice(0, MAX_REASON - 1)
  // Half of a pair of surrogates is no text.
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`
}

/** Whether images stand in the one order, each once. */
export function isSorted(images: readonly { source: string }[]): boolean {
  return images.every(({ source }, i) => i === 0 || compareBytes(images[i - 1]?.source ?? '', source) < 0)
}

/** The sources that are said to be left out and are there all the same. */
export function alsoThere(
  images: readonly { source: string }[],
  skipped: readonly { source: string }[] = [],
): string[] {
  const there = new Set(images.map(({ source }) => source))
  return skipped.flatMap(({ source }) => (there.has(source) ? [source] : []))
}
