import { clockText } from './clock.ts'
import type { OpenedBundle } from './opened-bundle.ts'
import type { OnEvent } from '../content/events.ts'

/** Warns of a clock that is earlier than the bundle, where nothing was judged by it: otherwise it is a problem. */
export function tellClock({ clock, reader }: OpenedBundle, onEvent: OnEvent | undefined): void {
  if (clock) onEvent?.({ type: 'warning', message: `${reader.path}: ${clockText(clock)}` })
}
