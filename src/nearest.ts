/** The candidate that was most likely mistyped as `word`; undefined if none is close. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  if (word === '' || word.length > MAX_LENGTH) return undefined
  const lower = word.toLowerCase()
  const begun = candidates.filter((candidate) => candidate.startsWith(lower))
  if (begun.length === 1 && lower.length > 1) return begun[0]
  let best: { candidate: string; distance: number } | undefined
  for (const candidate of candidates) {
    const distance = editDistance(lower, candidate)
    if (distance <= Math.ceil(candidate.length / 3) && distance < (best?.distance ?? Infinity)) {
      best = { candidate, distance }
    }
  }
  return best?.candidate
}

const MAX_LENGTH = 64

/**
 * The edit distance of two words: letters to insert, delete, replace or swap with a neighbour (optimal string
 * alignment).
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = [...Array(b.length + 1).keys()]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + cost)
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (isSwapped) least = Math.min(least, (beforeLast[j - 2] ?? 0) + 1)
      row.push(least)
    }
    beforeLast = last
    last = row
  }
  return last[b.length] ?? 0
}
