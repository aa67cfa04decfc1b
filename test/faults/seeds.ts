/** How many kill points each of the suites tries; the full proof unless the environment says less. */
export const SEEDS = Number(process.env['AIRGAP_FAULT_SEEDS'] ?? 200)

if (!Number.isSafeInteger(SEEDS) || SEEDS < 1)
  throw new Error('AIRGAP_FAULT_SEEDS has to be a positive number')

/** Numbers in [0, 1) that follow from the seed alone (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The sum, the largest and the middle one of some numbers, as a line of a report. */
export function summaryOf(numbers: readonly number[]): string {
  const sorted = numbers.toSorted((a, b) => a - b)
  const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`
  const sum = sorted.reduce((all, each) => all + each, 0)
  return `${mib(sum)} together, ${mib(sorted[sorted.length >> 1] ?? 0)} in the middle, ${mib(sorted.at(-1) ?? 0)} at most`
}
