import { isMap, isScalar, isSeq, type ParsedNode } from 'yaml'

/** The path to a value in a document: keys, and indexes into lists. */
export type YamlPath = readonly (string | number)[]

/** A path in words: `item 2 of keys`, `notAfter`, `the policy`. */
export function nameOf(path: YamlPath, kind: string): string {
  const last = path.at(-1)
  if (last === undefined) return `the ${kind}`
  if (typeof last === 'string') return last
  return `item ${last + 1} of ${nameOf(path.slice(0, -1), kind)}`
}

/** The offset of a value or its key. If the path does not exist, that of the nearest existing value around it. */
export function offsetAt(root: ParsedNode | null, path: YamlPath, atKey: boolean): number {
  let node = root
  let offset = root?.range[0] ?? 0
  for (const [depth, part] of path.entries()) {
    const isLast = depth === path.length - 1
    if (isMap(node)) {
      // The last pair with this key, so that a duplicate key is reported at its second place.
      const pair = node.items.findLast(({ key }) => isScalar(key) && key.value === part)
      if (!pair) return offset
      const { key, value } = pair as { key: ParsedNode; value: ParsedNode | null }
      offset = (isLast && atKey ? undefined : value?.range[0]) ?? key.range[0]
      node = value
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part] ?? null
      offset = node?.range[0] ?? offset
    } else {
      return offset
    }
  }
  return offset
}
