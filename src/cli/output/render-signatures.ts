import type { PlannedPush } from '../../push/planned-push.ts'
import type { Receipt } from '../../push/receipt.ts'
import { plural } from './format.ts'

type Planned = NonNullable<PlannedPush['images'][number]['imageSignatures']>
type Done = NonNullable<Receipt['images'][number]['imageSignatures']>

/** The key that images are signed with, as a field of a plan or a receipt. */
export function signerField(
  signing: Receipt['imageSigning'],
  label = 'images signed by',
): [string, string][] {
  return signing ? [[label, signing.keyFingerprint]] : []
}

/** What will be signed of an image, a line for each layout. */
export function plannedSignatureLines(signatures: Planned | undefined): string[] {
  return linesFor(signatures ?? [], (all) => {
    const there = all.filter(({ state }) => state === 'present').length
    const lacking = all.length - there
    if (lacking === 0) return `${plural(there, 'signature')} there already`
    return `${plural(lacking, 'manifest')} to sign${there > 0 ? `, ${there} signed already` : ''}`
  })
}

/** What was signed of an image. */
export function signatureLines(signatures: Done | undefined): string[] {
  return linesFor(signatures ?? [], (all) => {
    const count = (outcome: Done[number]['outcome']): number =>
      all.filter((one) => one.outcome === outcome).length
    const parts = [
      [count('signed'), 'signed'],
      [count('present'), 'signed already'],
      [count('not-signed'), 'NOT signed'],
    ] as const
    const [first, ...others] = parts.filter(([number]) => number > 0)
    if (!first) return 'nothing to sign'
    return [`${plural(first[0], 'manifest')} ${first[1]}`, ...others.map(([n, word]) => `${n} ${word}`)].join(
      ', ',
    )
  })
}

function linesFor<T extends { format: string }>(all: readonly T[], text: (of: T[]) => string): string[] {
  return [...Map.groupBy(all, ({ format }) => format)].map(([format, of]) => `    ${text(of)} (${format})`)
}
