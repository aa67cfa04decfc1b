import { AirgapError, messageOf } from '../errors.ts'
import { OutputFile } from '../files/output-file.ts'
import { serializeReceipt, type Receipt } from '../transfer/push/receipt.ts'
import { jsonText } from './format.ts'
import { log } from './log.ts'

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

/**
 * Writes the receipt of a push that came to its end; where it cannot be written, it is printed on standard error, because
 * nothing else says which tags were moved.
 * @throws AirgapError `FILE`, `DISK_FULL`
 */
export async function keepReceipt(output: OutputFile, receipt: Receipt): Promise<void> {
  try {
    await output.write(serializeReceipt(receipt), 0)
    await output.commit()
  } catch (error) {
    const message = 'The push is complete, but its receipt cannot be written. This is it:'
    log.write({ level: 'error', event: 'receipt', message, receipt }, `${message}\n${jsonText(receipt)}`)
    throw error
  }
}

/**
 * Keeps the receipt of a push that is incomplete, or broke off when tags were set: under a name of its own, so that the same command
 * can be run again. Where even that cannot be written, it is printed.
 * @returns what to tell the user.
 */
export async function keepIncomplete(receipt: Receipt, path: string): Promise<string> {
  const file = incompletePath(path, new Date())
  try {
    const output = await OutputFile.reserve(file)
    await output.write(serializeReceipt(receipt), 0)
    await output.commit()
    return `the push is not complete; what it has done, and which tags it has set, stands in ${file}`
  } catch (error) {
    const message = 'The push is not complete. This is the record of what it has done:'
    log.write({ level: 'warning', event: 'receipt', message, receipt }, `${message}\n${jsonText(receipt)}`)
    return `the record of the push, above, could not be written: ${messageOf(error)}`
  }
}

/** Where the receipt of a push goes that broke off. */
function incompletePath(receipt: string, now: Date): string {
  return `${receipt}.${compact(now)}.incomplete`
}

function compact(time: Date): string {
  return time.toISOString().replaceAll(/[-:.]/g, '')
}
