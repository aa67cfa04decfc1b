import pLimit from 'p-limit'

/** How many transfers run at a time unless the user says otherwise. */
export const DEFAULT_CONCURRENCY = 6

/**
 * Runs `work` on every item, a bounded number at a time. The first failure calls the others off; it is thrown
 * when all have ended, so that nothing is still at work when a failure is handled.
 *
 * @throws what `work` threw first, or the signal's reason.
 */
export async function inParallel<T>(
  items: readonly T[],
  { concurrency, signal }: { concurrency?: number; signal?: AbortSignal },
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController()
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal
  const limit = pLimit(concurrency ?? DEFAULT_CONCURRENCY)
  let failure: { error: unknown } | undefined
  await Promise.all(
    items.map((item) =>
      limit(async () => {
        if (either.aborted) return
        try {
          await work(item, either)
        } catch (error) {
          failure ??= { error }
          stop.abort(error)
        }
      }),
    ),
  )
  signal?.throwIfAborted()
  if (failure) throw failure.error
}
