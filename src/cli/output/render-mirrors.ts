import type { MirrorUse } from '../../registry/mirrors/in-use.ts'

/** Where the images of one registry are read, in one line. */
export function mirrorLine({ prefix, places, registryItself }: MirrorUse): string {
  const list = places.map(({ location, origin }) => `${location} (${origin})`).join(', then ')
  return `${prefix} is read from ${list}, ${registryItself ? 'then from' : 'and not from'} ${prefix} itself`
}
