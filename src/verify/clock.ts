import type { BundleDescription } from '../bundle/description.ts'
import { formatMoment } from '../bundle/fields.ts'
import { DESCRIPTION } from '../bundle/names.ts'
import type { Trust } from './authenticate.ts'
import type { ClockFault, OpenedBundle } from './opened-bundle.ts'
import type { OnEvent } from '../content/events.ts'

/** Clocks may differ by this much before anybody needs to know. Milliseconds. */
const TOLERANCE = 5 * 60_000

/**
 * Step 4 for this machine's clock: one that is earlier than the bundle's creation is wrong, or the bundle is. Where
 * anything was judged by it (expiry, greatest age, a key that ends), the bundle is refused: a clock that is behind finds
 * nothing too old. Otherwise it is only noted.
 */
export function checkClock(opened: OpenedBundle, description: BundleDescription, trust: Trust): void {
  const { created, expires } = description
  const isBehind = Date.parse(created) - trust.now > TOLERANCE
  if (!isBehind) return
  const clock = { now: formatMoment(trust.now), created }
  opened.clock = clock
  const { authentication } = opened
  const judged = [
    ...(expires === undefined ? [] : [`the bundle expires at ${expires}`]),
    ...(trust.policy?.bundle.maxAge === undefined ? [] : ['the policy limits its age']),
    ...(authentication.state === 'signed' && authentication.signers?.usesClock === true
      ? ['the policy limits the time of a key that has signed']
      : []),
  ]
  if (judged.length === 0) return
  opened.problems.push({
    entry: DESCRIPTION,
    message: `${clockText(clock)}, and ${judged.join(', and ')}. Have the clock set`,
    kind: 'expectation',
  })
}

/** Both times, and what that means. */
export function clockText({ now, created }: ClockFault): string {
  return `this machine's clock says ${now}, and the bundle says it was created ${created}: expiry and age cannot be judged by this clock`
}

/** Warns of a clock that is earlier than the bundle, where nothing was judged by it: otherwise it is a problem. */
export function tellClock({ clock, reader }: OpenedBundle, onEvent: OnEvent | undefined): void {
  if (clock) onEvent?.({ type: 'warning', message: `${reader.path}: ${clockText(clock)}` })
}
