import pLimit from 'p-limit'

/** How many transfers run at a time unless the user says otherwise. */
export const DEFAULT_CONCURRENCY = 6

/**
 * Runs `work` on every item, a bounded number at a time. The first failure cancels the others. It is thrown when all have
 * ended, so that nothing is still running when it is handled.
 *
 * @returns what `work` returned, in the order of the items.
 * @throws what `work` threw first, or the signal's reason.
 */
export async function inParallel<T, R>(
  items: readonly T[],
  { concurrency, signal }: { concurrency?: number | undefined; signal?: AbortSignal | undefined },
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const stop = new AbortController()
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal
  const limit = pLimit(concurrency ?? DEFAULT_CONCURRENCY)
  let failure: { error: unknown } | undefined
  const results: R[] = []
  await Promise.all(
    items.map((item, i) =>
      limit(async () => {
        if (either.aborted) return
        try {
          results[i] = await work(item, either)
        } catch (error) {
          failure ??= { error }
          stop.abort(error)
        }
      }),
    ),
  )
  signal?.throwIfAborted()
  if (failure) throw failure.error
  return results
}
