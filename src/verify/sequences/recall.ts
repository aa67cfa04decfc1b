import { AirgapError } from '../../errors.ts'
import type { Trust } from '../authenticate.ts'
import type { OpenedBundle } from '../opened-bundle.ts'
import type { SequenceEvidence } from '../opened-bundle.ts'
import type { SequenceMemory } from './memory.ts'
import type { Run } from '../../content/run.ts'
import type { Hint } from '../../hints.ts'

/** Whether and where to remember sequences. */
export interface SequenceOptions {
  /**
   * The file that remembers the last pushed sequence of each bundle name and signer: an older bundle is refused. True
   * means `airgap/sequences.json` in `$XDG_STATE_HOME` or `~/.local/state`; without it, nothing is remembered.
   */
  sequences?: string | true | undefined
  /** Accept a bundle that is older than the last one, or that has its sequence. */
  allowRollback?: boolean | undefined
}

/** What one run needs of the remembered sequences. */
export interface RecalledSequences {
  evidence: SequenceEvidence
  /** Records that the bundle was accepted. Call it before any tag is set. */
  record(target: string, signal?: AbortSignal): Promise<void>
}

/**
 * Refuses a named file that could not be used for the check.
 * @throws AirgapError `USAGE` if signatures are not checked, because sequences are remembered by signer.
 */
export function requireRemembered({ sequences }: SequenceOptions, { unauthenticated }: Trust): void {
  if (sequences === undefined || !unauthenticated) return
  throw new AirgapError('USAGE', 'sequences are remembered by signer, but no signature is checked', {
    hint: [
      'Say who has to have signed, or do not name the file. A minimum sequence needs no signer.',
      { id: 'min-sequence' },
    ],
  })
}

/**
 * Looks up what is remembered of earlier bundles, and adds a problem if this one is older. Emits a note if no earlier
 * push is remembered.
 *
 * @param willRecord whether this run will record the bundle; then the file has to be writable.
 * @param target where the bundle goes. Warns if the same signer has pushed there under other names only.
 * @param mustExist whether a missing file is an error, because its name must be mistyped.
 * @throws AirgapError `FILE` if the file is damaged or cannot be read, `OUTPUT_UNSAFE`
 */
export async function recallSequences(
  opened: OpenedBundle,
  trust: Trust,
  { sequences, allowRollback = false }: SequenceOptions,
  {
    willRecord,
    target,
    mustExist = false,
    onEvent,
  }: { willRecord: boolean; target?: string; mustExist?: boolean; onEvent: Run['onEvent'] },
): Promise<RecalledSequences> {
  const off: RecalledSequences = { evidence: { sequenceMemory: 'off' }, record: async () => {} }
  if (sequences === undefined) return off
  const { SequenceFile } = await import('./file.ts')
  const { SequenceMemory } = await import('./memory.ts')
  const note = (message: string, ...hints: Hint[]): void =>
    onEvent({ type: 'registry', notice: { type: 'note', message, hints } })
  const warn: Tell = (message, ...hints) => onEvent({ type: 'warning', message, hints })

  if (trust.unauthenticated && sequences !== true)
    warn(`${sequences} is not used: sequences are remembered by signer, but no signature was checked`)
  const file = sequences === true ? SequenceFile.ofUser(process.env) : SequenceFile.at(sequences)
  if (!file) {
    note('This push is not remembered, because there is no home folder', { id: 'state-file' })
    return off
  }
  const memory = await SequenceMemory.recall(file, opened, { trust, mustExist })
  if (!memory) return off
  const { problem } = memory
  if (problem && !allowRollback) opened.problems.push(problem)
  if (problem && allowRollback) {
    const { previousSequence } = memory.evidence
    warn(`sequence ${opened.description?.sequence} is accepted after ${previousSequence}, as you allowed`)
  }
  const canRecord = willRecord && (await isWritable(memory, sequences === true, warn))
  tellIfNew(memory, opened, { willRecord, canRecord, note })
  if (target !== undefined) tellOtherNames(memory, opened, { target, warn })
  const { evidence } = memory
  return {
    evidence: willRecord && !canRecord && evidence.sequenceMemory === 'none' ? off.evidence : evidence,
    record: async (target, signal) => {
      if (!canRecord) return
      try {
        await memory.record(target, allowRollback, signal)
      } catch (error) {
        // A report that is made later must not call the bundle good.
        if (error instanceof AirgapError) opened.problems = opened.problems.concat(error.problems)
        throw error
      }
    },
  }
}

/** Tells the user something, with hints. */
type Tell = (message: string, ...hints: Hint[]) => void

/** Whether the file can be written. If not, the user's own folder gives a warning, a named file an error. */
async function isWritable({ file }: SequenceMemory, isOwn: boolean, warn: Tell): Promise<boolean> {
  try {
    await file.prepare()
    return true
  } catch (error) {
    if (!isOwn || !(error instanceof AirgapError) || error.code === 'OUTPUT_UNSAFE') throw error
    warn(`this push cannot be remembered: ${error.message}`, { id: 'state-file' })
    return false
  }
}

function tellIfNew(
  { evidence, file, signers }: SequenceMemory,
  { description }: OpenedBundle,
  {
    willRecord,
    canRecord,
    note,
  }: { willRecord: boolean; canRecord: boolean; note: (message: string) => void },
): void {
  if (evidence.sequenceMemory !== 'none' || (willRecord && !canRecord)) return
  const name = JSON.stringify(description?.name ?? '')
  const then = canRecord ? '; from now on, older bundles are refused' : ''
  note(`No earlier push of ${name} by ${signers} is remembered in ${file.path}${then}.`)
}

const MOST_NAMES = 3

/** Warns if this bundle may be a release of one that was pushed under another name: then its age cannot be checked. */
function tellOtherNames(
  memory: SequenceMemory,
  { description }: OpenedBundle,
  { target, warn }: { target: string; warn: Tell },
): void {
  if (memory.evidence.sequenceMemory !== 'none') return
  const names = memory.otherNames(target)
  if (names.length === 0) return
  const shown = names.slice(0, MOST_NAMES).map((name) => JSON.stringify(name))
  const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : ''
  const name = JSON.stringify(description?.name ?? '')
  warn(
    `the name ${name} is new, but ${memory.signers} has pushed ${shown.join(', ')}${more} to ${target}: if this is a release of one of them, airgap could not check whether it is older. All releases of a bundle need the same name`,
    { id: 'name' },
  )
}
