import type { BundleDescription } from '../bundle/description.ts'
import { DESCRIPTION } from '../bundle/names.ts'
import type { Trust } from './authenticate.ts'
import type { ClockFault, OpenedBundle } from './opened-bundle.ts'
import type { OnEvent } from '../content/events.ts'
import { formatMoment } from '../bytes.ts'

/** How far clocks can differ without a message. Milliseconds. */
const TOLERANCE = 5 * 60_000

/**
 * Step 4 of the verification, for this machine's clock. If the clock is earlier than the bundle's creation, one of the two
 * is wrong. If a check depends on the clock (expiry, maximum age, a key's end), the bundle is refused, because with a slow
 * clock nothing is ever too old. Otherwise it is only noted.
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
      ? ['the policy limits how long a key that has signed is valid']
      : []),
  ]
  if (judged.length === 0) return
  opened.problems.push({
    entry: DESCRIPTION,
    message: `${clockText(clock)}, and ${judged.join(', and ')}. Set the clock`,
    kind: 'expectation',
  })
}

/** The message about a clock that is earlier than the bundle. */
export function clockText({ now, created }: ClockFault): string {
  return `this machine's clock says ${now}, but the bundle says it was created ${created}: expiry and age cannot be checked with this clock`
}

/** Warns about a clock that is earlier than the bundle. Call it for a good bundle, where no check depends on the clock. */
export function tellClock({ clock, reader }: OpenedBundle, onEvent: OnEvent | undefined): void {
  if (clock) onEvent?.({ type: 'warning', message: `${reader.path}: ${clockText(clock)}` })
}
