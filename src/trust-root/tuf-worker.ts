import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { initTUF } from '@sigstore/tuf'
import { AirgapError, messageOf } from '../errors.ts'
import type { Run } from '../content/run.ts'
import { withServices } from '../registry/services.ts'
import { CACHE, INITIAL_ROOT, type TufReply, type TufTask } from './tuf.ts'

/**
 * A worker thread that fetches a target from a TUF repository. The library uses the global `fetch`, which is replaced
 * here by one that uses our routes. The thread can be terminated at any time.
 */
const port = parentPort
if (!port) throw new Error('this file only runs as a worker thread')
const reply = (message: TufReply): void => port.postMessage(message)
const task = workerData as TufTask

/** Maximum size of metadata and targets, in bytes. The library has its own, lower limits. */
const LIMIT = 8 * 1024 * 1024
/** The library asks for the next root until there is none, so that answer is no error. */
const NEXT_ROOT = /\/[0-9]+\.root\.json$/

let failure: AirgapError | undefined

function useServices(ask: Parameters<Parameters<typeof withServices>[2]>[0]['ask']): void {
  globalThis.fetch = async (input) => {
    const url = new URL(input instanceof Request ? input.url : input)
    try {
      const { status, body } = await ask({
        service: 'the TUF repository',
        operation: 'fetch the trusted root',
        method: 'GET',
        url,
        limit: LIMIT,
        mayAnswer: NEXT_ROOT.test(url.pathname) ? [403, 404] : [],
      })
      return new Response(status === 200 ? new Uint8Array(body) : null, { status })
    } catch (error) {
      if (error instanceof AirgapError) failure ??= error
      throw error
    }
  }
}

/** The innermost cause. The outer errors only say what was being done. */
function causeOf(error: unknown): unknown {
  let current = error
  for (let depth = 0; depth < 5; depth++) {
    if (!(error instanceof Error) || !(current instanceof Error) || current.cause === undefined) break
    current = current.cause
  }
  return current
}

const run: Run = {
  signal: new AbortController().signal,
  onEvent: (event) => reply({ type: 'event', event }),
}

async function work(): Promise<void> {
  const initial = join(task.folder, INITIAL_ROOT)
  const cachePath = join(task.folder, CACHE)
  await mkdir(cachePath)
  await writeFile(initial, task.root)
  await withServices(task.network, run, async ({ ask }) => {
    useServices(ask)
    const { mirror: mirrorURL, target } = task
    // Retries and timeouts are done by our `fetch`.
    const client = await initTUF({ mirrorURL, rootPath: initial, cachePath, retry: 0, timeout: 0 })
    await client.getTarget(target)
  })
}

function replyTo(error: unknown): TufReply {
  const ours = failure ?? (error instanceof AirgapError ? error : undefined)
  if (ours) return { type: 'failed', code: ours.code, message: ours.message, hints: ours.hints }
  const cause = causeOf(error)
  const name = cause instanceof Error ? cause.constructor.name : ''
  return { type: 'unverified', name, message: messageOf(cause) }
}

// No top-level await, because the single executable does not support it.
work().then(
  () => reply({ type: 'done' }),
  (error: unknown) => reply(replyTo(error)),
)
