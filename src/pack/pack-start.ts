import { stat } from 'node:fs/promises'
import { AirgapError } from '../errors.ts'
import { PARTIAL_SUFFIX } from '../files/output-file.ts'
import { identityOf, isSameFile, type FileIdentity } from '../files/own-file.ts'
import type { PackInputs } from './journal/header.ts'
import { compareInputs } from './journal/inputs.ts'
import type { ReadJournal } from './journal/read.ts'
import type { Lock } from './lock.ts'
import { cannotGoOn, Unfinished } from './unfinished.ts'

/** How a pack into a file begins. */
export type Start = {
  /** Bundles that the caller has named to take blobs from, but for the unfinished one. */
  reuse: string[]
} & (
  | { how: 'new'; unfinished: undefined }
  /** With what was decided before; some images may no longer be wanted. */
  | { how: 'go-on'; unfinished: Unfinished; journal: ReadJournal }
  /** A new file, which takes from the unfinished one what it has. */
  | { how: 'take-from'; unfinished: Unfinished }
  /** A new file, and the unfinished one is not wanted. */
  | { how: 'fresh'; unfinished: Unfinished }
)

/**
 * Looks at what stands under the output's partial name, and decides what becomes of it. Nothing is changed yet.
 * @param output as the caller has written it.
 * @param path the same, absolute.
 * @param inputs what is packed now.
 * @throws AirgapError `OUTPUT_UNFINISHED` when somebody has to decide, `OUTPUT_UNSAFE`, `USAGE`, `FILE`
 */
export async function startOf(
  output: string,
  path: string,
  inputs: PackInputs,
  options: {
    lock: Lock | undefined
    force: boolean
    fresh: boolean
    reuse: readonly string[]
  },
): Promise<Start> {
  const { force, fresh } = options
  const unfinished = await Unfinished.find(path, { force, fresh })
  if (!unfinished) return { how: 'new', unfinished, reuse: [...options.reuse] }
  try {
    const { reuse, isNamed } = await withoutFile(options.reuse, unfinished.file.identity)
    if (fresh) {
      if (isNamed) throw new AirgapError('USAGE', '--fresh throws away what --reuse names')
      return { how: 'fresh', unfinished, reuse }
    }
    const name = `${output}${PARTIAL_SUFFIX}`
    const { journal } = unfinished
    const comparison = journal && compareInputs(journal.header, inputs, options.lock)
    if (journal && comparison?.kind !== 'other') return { how: 'go-on', unfinished, journal, reuse }
    if (isNamed) return { how: 'take-from', unfinished, reuse }
    throw cannotGoOn(unfinished, name, comparison?.kind === 'other' ? comparison.differences : [])
  } catch (error) {
    await unfinished.close()
    throw error
  }
}

async function withoutFile(
  files: readonly string[],
  identity: FileIdentity,
): Promise<{ reuse: string[]; isNamed: boolean }> {
  const reuse: string[] = []
  for (const file of files) {
    // One that cannot be looked at is told of when it is opened.
    const found = await stat(file, { bigint: true }).then(identityOf, () => undefined)
    if (!found || !isSameFile(found, identity)) reuse.push(file)
  }
  return { reuse, isNamed: reuse.length < files.length }
}
