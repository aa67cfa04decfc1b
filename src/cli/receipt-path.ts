import { AirgapError } from '../errors.ts'

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

/** Where the receipt of a push goes that broke off. */
export function incompletePath(receipt: string, now: Date): string {
  return `${receipt}.${compact(now)}.incomplete`
}

function compact(time: Date): string {
  return time.toISOString().replaceAll(/[-:.]/g, '')
}
