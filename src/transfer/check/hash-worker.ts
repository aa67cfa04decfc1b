import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import type { HashReply, HashTask } from './hash-pool.ts'

/** Runs in a thread of its own: reads a range of the open file and hashes it. */
const CHUNK = 1024 * 1024
const PROGRESS_EVERY = 16 * CHUNK
const buffer = Buffer.allocUnsafeSlow(CHUNK)
const port = parentPort
if (!port) throw new Error('this file runs as a worker thread only')

port.on('message', (task: HashTask) => {
  const reply = (message: HashReply): void => port.postMessage(message)
  try {
    const hash = createHash('sha256')
    let told = 0
    for (let done = 0; done < task.length;) {
      const read = readSync(task.fd, buffer, 0, Math.min(CHUNK, task.length - done), task.offset + done)
      if (read === 0) throw new Error('the file became shorter while it was read')
      hash.update(buffer.subarray(0, read))
      done += read
      if (done - told >= PROGRESS_EVERY || done === task.length) {
        reply({ id: task.id, type: 'progress', bytes: done - told })
        told = done
      }
    }
    reply({ id: task.id, type: 'done', digest: `sha256:${hash.digest('hex')}` })
  } catch (error) {
    reply({ id: task.id, type: 'failed', message: error instanceof Error ? error.message : String(error) })
  }
})
