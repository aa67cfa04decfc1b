import { AirgapError, messageOf } from '../../errors.ts'
import { isAllTagged, serializeReceipt, type Receipt } from '../../push/receipt.ts'
import type { SigningKey } from '../../trust/keys.ts'
import { jsonText } from './format.ts'
import { log } from './log.ts'
import { SignedDocument } from './signed-document.ts'

/**
 * Where a receipt goes: the file given, or one in the present folder that says which bundle and when, so that
 * no push overwrites the receipt of another.
 */
export function receiptPath(given: string | undefined, bundleName: string, now: Date): string {
  if (given === '-') {
    throw new AirgapError('USAGE', '--receipt - : a receipt goes to a file', {
      hint: 'To have it on standard output too, use --json.',
    })
  }
  if (given !== undefined) return given
  const name =
    bundleName
      .replaceAll(/[^A-Za-z0-9._-]+/g, '_')
      .replace(/^[.-]+/, '')
      .slice(0, 100) || 'bundle'
  return `${name}.${compact(now)}.receipt.json`
}

/** Where the report of a push goes: the file given, or one beside the receipt and named like it. */
export function pushReportPath(given: string | undefined, receipt: string): string {
  return given ?? `${receipt.replace(/(?:\.receipt)?\.json$/, '')}.report.json`
}

/**
 * Writes the receipt of a push that came to its end; where it cannot be written, it is printed on standard error, because
 * nothing else says which tags were moved.
 * @throws AirgapError `FILE`, `DISK_FULL`, and those of the key
 */
export async function keepReceipt(output: SignedDocument, receipt: Receipt): Promise<void> {
  try {
    await output.write(serializeReceipt(receipt))
  } catch (error) {
    const message = 'The push is complete, but its receipt cannot be written. This is it:'
    log.write({ level: 'error', event: 'receipt', message, receipt }, `${message}\n${jsonText(receipt)}`)
    throw error
  }
}

/**
 * Keeps the receipt of a push that is incomplete, or broke off when tags were set: under a name of its own, so that the same command
 * can be run again. Where even that cannot be written, it is printed.
 * @returns what to tell the user, and where it is.
 */
export async function keepIncomplete(
  receipt: Receipt,
  file: string,
  key: SigningKey | undefined,
): Promise<{ message: string; file: string }> {
  const [what, which] = isAllTagged(receipt)
    ? ['the push is not complete, though all tags are set', 'what was done']
    : ['the push broke off when tags had been set', 'which ones']
  try {
    const output = await SignedDocument.reserve(file, key)
    await output.write(serializeReceipt(receipt))
    return { message: `${what}; ${which} stands in ${file}`, file }
  } catch (error) {
    const message = `${what.charAt(0).toUpperCase()}${what.slice(1)}. This is the record of that:`
    log.write({ level: 'warning', event: 'receipt', message, receipt }, `${message}\n${jsonText(receipt)}`)
    const reason = `the record of the push, above, could not be written: ${messageOf(error)}`
    return { message: reason, file: 'not written' }
  }
}

/** A time as names of files have it. */
export function compact(time: Date): string {
  return time.toISOString().replaceAll(/[-:.]/g, '')
}
