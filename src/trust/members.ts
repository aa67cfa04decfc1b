/** Whether a value from untrusted JSON is an object with this own member. */
export function has<K extends string>(value: unknown, key: K): value is Record<K, unknown> {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
}

/** A member of a value from untrusted JSON; undefined if there is none. */
export function member(value: unknown, key: string): unknown {
  return has(value, key) ? value[key] : undefined
}
