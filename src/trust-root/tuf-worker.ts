import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { initTUF } from '@sigstore/tuf'
import { AirgapError, messageOf } from '../errors.ts'
import type { Run } from '../content/run.ts'
import { withServices } from '../registry/services.ts'
import { CACHE, INITIAL_ROOT, type TufReply, type TufTask } from './tuf.ts'

/**
 * Runs in a thread of its own: fetches a target from a TUF repository. The library asks by the global `fetch`, which here
 * is one that goes the ways of everything else; and it can be ended with the thread.
 */
const port = parentPort
if (!port) throw new Error('this file runs as a worker thread only')
const reply = (message: TufReply): void => port.postMessage(message)
const task = workerData as TufTask

/** Of metadata and targets alike; the library knows more exactly what each may have. Bytes. */
const LIMIT = 8 * 1024 * 1024
/** A root that does not follow is how the last one is known. */
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

/** The innermost cause: what is around it says only what was being done. */
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
    // Attempts and timeouts are seen to below.
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

// In the single executable there is no waiting at the top of a file.
work().then(
  () => reply({ type: 'done' }),
  (error: unknown) => reply(replyTo(error)),
)
