import { expect } from 'vitest'

let isDone = false

/**
 * From here on, bytes are compared as bytes: element by element, as other lists are, a few megabytes take a second.
 */
export function compareBytesAsBytes(): void {
  if (isDone) return
  isDone = true
  expect.addEqualityTesters([
    (a: unknown, b: unknown) =>
      a instanceof Buffer && b instanceof Buffer && a.equals(b) ? true : undefined,
  ])
}
