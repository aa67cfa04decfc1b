import { AirgapError } from '../../errors.ts'
import type { Trust } from '../authenticate.ts'
import type { OpenedBundle } from '../opened-bundle.ts'
import type { SequenceEvidence } from '../opened-bundle.ts'
import type { SequenceMemory } from './memory.ts'
import type { Run } from '../../content/run.ts'
import type { Hint } from '../../hints.ts'

/** The memory of the last sequences. */
export interface SequenceOptions {
  /**
   * The file that remembers, for each bundle name and signer, the last sequence that was pushed: an older bundle is
   * refused. True is `airgap/sequences.json` in `$XDG_STATE_HOME` or `~/.local/state`; where left out, nothing is
   * remembered.
   */
  sequences?: string | true | undefined
  /** Take an older bundle than the last, or another one with its sequence. */
  allowRollback?: boolean | undefined
}

/** A bundle's memory, as one run uses it. */
export interface RecalledSequences {
  evidence: SequenceEvidence
  /** Remembers that the bundle was accepted. Call it before anything shows it to others. */
  record(target: string, signal?: AbortSignal): Promise<void>
}

/**
 * A file that was named for a check has to be looked into.
 * @throws AirgapError `USAGE` where nobody is asked who has signed, by whom it remembers.
 */
export function requireRemembered({ sequences }: SequenceOptions, { unauthenticated }: Trust): void {
  if (sequences === undefined || !unauthenticated) return
  throw new AirgapError('USAGE', 'sequences are remembered by signer, and nobody is asked who has signed', {
    hint: [
      'Say who has to have signed, or do not name the file. A least sequence needs no signer.',
      { id: 'min-sequence' },
    ],
  })
}

/**
 * Looks up what is remembered of earlier bundles, and adds a problem where this one is older. Says so where nothing is
 * remembered yet.
 *
 * @param willRecord whether the bundle is going to be accepted: then the file has to be one that can be written.
 * @param target where it goes: of other names that the same signer has pushed there, a warning tells.
 * @param mustExist whether a file that is not there is an error: it can only be a mistyped name.
 * @throws AirgapError `FILE` where the file is damaged or cannot be read, `OUTPUT_UNSAFE`
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
    warn(
      `${sequences} is not looked into: sequences are remembered by signer, and nobody was asked who that is`,
    )
  const file = sequences === true ? SequenceFile.ofUser(process.env) : SequenceFile.at(sequences)
  if (!file) {
    note('Nothing is remembered of this push, for there is no home folder', { id: 'state-file' })
    return off
  }
  const memory = await SequenceMemory.recall(file, opened, { trust, mustExist })
  if (!memory) return off
  const { problem } = memory
  if (problem && !allowRollback) opened.problems.push(problem)
  if (problem && allowRollback) {
    const { previousSequence } = memory.evidence
    warn(`sequence ${opened.description?.sequence} is taken after ${previousSequence}, as you have allowed`)
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
        // A report that is made of it now must not say that it is good.
        if (error instanceof AirgapError) opened.problems = opened.problems.concat(error.problems)
        throw error
      }
    },
  }
}

/** Tells a person something, with what to do about it. */
type Tell = (message: string, ...hints: Hint[]) => void

/** The user's own folder may be one that cannot be written, as a service's; a file that was named has to be right. */
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
  const then = canRecord ? '; from now on an older bundle is refused' : ''
  note(`No earlier push of ${name} by ${signers} is remembered in ${file.path}${then}.`)
}

const MOST_NAMES = 3

/** Releases of one bundle under several names are several bundles to the memory, and none of them is ever old. */
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
    `the name ${name} is new, and ${memory.signers} has pushed ${shown.join(', ')}${more} to ${target}: if this is a release of one of them, whether it is an older one was not checked. Releases of one bundle need one name`,
    { id: 'name' },
  )
}
