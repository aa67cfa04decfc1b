import type { MirrorUse } from '../registry/mirrors/in-use.ts'

/** Where the images of one registry are read, in one line. */
export function mirrorLine({ from, places, source }: MirrorUse): string {
  const list = places.map(({ location, origin }) => `${location} (${origin})`).join(', then ')
  return `${from} is read from ${list}, ${source ? 'then from' : 'and not from'} ${from} itself`
}
