import { lstat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { BundleDescription } from '../bundle/description.ts'
import { formatMoment } from '../bundle/fields.ts'
import { AirgapError, withHint } from '../errors.ts'
import { checkOutput, checkRoom } from '../files/output-checks.ts'
import { PARTIAL_SUFFIX } from '../files/output-file.ts'
import type { OnEvent } from '../content/events.ts'
import { TOLERANCE_MS } from '../registry/faults/clock.ts'
import type { ChosenName } from './bundle-name.ts'
import type { Run } from '../content/run.ts'

/**
 * Says what the bundle is called where nobody has said it: its sequence is remembered under that name.
 * @param name what it is called, which a former run of an unfinished one has decided.
 */
export function tellName(name: string, { name: chosen, from, reused }: ChosenName, onEvent: OnEvent): void {
  const note = (message: string): void => onEvent({ type: 'registry', notice: { type: 'note', message } })
  const shown = JSON.stringify(name)
  if (from !== 'given') {
    const origin = from === 'reuse' ? 'as the one that it takes blobs from' : 'after its file'
    const why = name === chosen ? origin : 'as it was begun'
    note(
      `The bundle is called ${shown}, ${why}: push remembers it under this name, and refuses an older one. --name gives another.`,
    )
  }
  const others = reused.filter((other) => other !== name).map((other) => JSON.stringify(other))
  if (others.length > 0 && !reused.includes(name)) {
    note(
      `Blobs are taken from ${others.join(' and ')}, and this bundle is called ${shown}: to push they are not releases of one bundle.`,
    )
  }
}

/**
 * Warns where the bundle of a plan could not be written under that name: it stands in the way, or does not fit there.
 * @param size of the bundle, in bytes.
 */
export async function tellRoom(
  file: string,
  size: number,
  { force = false }: { force?: boolean | undefined },
  onEvent: OnEvent,
): Promise<void> {
  const path = resolve(file)
  try {
    await checkOutput(path, force)
    await checkRoom(path, size, await lstat(`${path}${PARTIAL_SUFFIX}`).catch(() => undefined))
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    onEvent({ type: 'warning', message: `packing would fail: ${withHint(error)}` })
  }
}

/** What registries' clocks have said in a run. */
interface Clocks {
  /** The clock that this machine's is furthest ahead of, and by how much. Milliseconds. */
  behind: { host: string; ms: number } | undefined
}

/** Listens for registries whose clocks are behind this machine's. */
export function watchClocks(outer: Run): { run: Run; clocks: Clocks } {
  const clocks: Clocks = { behind: undefined }
  const onEvent: OnEvent = (event) => {
    if (event.type === 'registry' && event.notice.type === 'warning' && event.notice.clock) {
      const { host, behindMs: ms } = event.notice.clock
      if (ms > (clocks.behind?.ms ?? 0)) clocks.behind = { host, ms }
    }
    outer.onEvent(event)
  }
  return { run: { ...outer, onEvent }, clocks }
}

/**
 * Warns of a sequence that push will judge otherwise than whoever packs has meant: one that a clock in the future has
 * given, which outranks the bundles of all right clocks until then; and one that is not above that of the last release.
 */
export function tellSequence(
  description: BundleDescription,
  { last, name }: ChosenName,
  { behind }: Clocks,
  onEvent: OnEvent,
): void {
  const warn = (message: string): void => onEvent({ type: 'warning', message })
  const { sequence, created } = description
  const isByClock = sequence === Date.parse(created) / 1000
  if (behind && isByClock && Date.parse(created) - (Date.now() - behind.ms) > TOLERANCE_MS) {
    const theirs = formatMoment(Date.now() - behind.ms)
    warn(
      `the clock of this machine may be in the future: the bundle is created ${created}, and ${behind.host} says that it is ${theirs}. Its sequence, ${sequence}, is that time: until then, push refuses as older whatever is packed with a right clock under the same name. Have the clock set and pack again, or give --sequence`,
    )
  }
  if (
    !last ||
    last.name !== description.name ||
    sequence > last.sequence ||
    isDeepStrictEqual(description, last)
  )
    return
  const [relation, refusal] =
    sequence < last.sequence
      ? ['is lower than', 'as an older bundle']
      : ['is also', 'because two bundles claim one sequence']
  const isFuture = last.sequence === Date.parse(last.created) / 1000 && Date.parse(last.created) > Date.now()
  const why = isFuture
    ? `. That one was created ${last.created}, in the future of this machine's clock, ${formatMoment(Date.now())}: one of the two clocks was wrong`
    : ''
  warn(
    `the sequence of this bundle, ${sequence}, ${relation} that of the one it takes blobs from, ${JSON.stringify(name)} ${last.sequence}: where that was pushed, push refuses this one, ${refusal}${why}. A higher one is given with --sequence`,
  )
}
