/** Whether a value of foreign JSON is an object with this member of its own. */
export function has<K extends string>(value: unknown, key: K): value is Record<K, unknown> {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
}

/** A member of a value of foreign JSON; undefined where there is none. */
export function member(value: unknown, key: string): unknown {
  return has(value, key) ? value[key] : undefined
}
