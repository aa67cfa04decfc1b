import { isMap, isScalar, isSeq, type ParsedNode } from 'yaml'

/** Where something stands in a document: keys, and numbers in lists. */
export type YamlPath = readonly (string | number)[]

/** `item 2 of keys`, `notAfter`, `the policy`. */
export function nameOf(path: YamlPath, kind: string): string {
  const last = path.at(-1)
  if (last === undefined) return `the ${kind}`
  if (typeof last === 'string') return last
  return `item ${last + 1} of ${nameOf(path.slice(0, -1), kind)}`
}

/** Where a value, or its key, begins; of what is not there, the nearest that is around it. */
export function offsetAt(root: ParsedNode | null, path: YamlPath, atKey: boolean): number {
  let node = root
  let offset = root?.range[0] ?? 0
  for (const [depth, part] of path.entries()) {
    const isLast = depth === path.length - 1
    if (isMap(node)) {
      // The last of those with this name: a key given twice is reported at the second.
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
