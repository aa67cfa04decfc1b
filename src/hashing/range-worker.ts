import { createHash } from 'node:crypto'
import { readSync, writeSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import type { RangeReply, RangeTask } from './range-threads.ts'

/** Runs in its own thread: reads a range of the open file, hashes it, and copies it to another file if asked. */
const CHUNK = 1024 * 1024
const PROGRESS_EVERY = 16 * CHUNK
const buffer = Buffer.allocUnsafeSlow(CHUNK)
const port = parentPort
if (!port) throw new Error('this file runs as a worker thread only')

port.on('message', (task: RangeTask) => {
  const reply = (message: RangeReply): void => port.postMessage(message)
  try {
    const hash = createHash('sha256')
    let told = 0
    for (let done = 0; done < task.length;) {
      const read = readSync(task.fd, buffer, 0, Math.min(CHUNK, task.length - done), task.offset + done)
      if (read === 0) throw new Error('the file became shorter while it was read')
      hash.update(buffer.subarray(0, read))
      if (task.copyTo) write(task.copyTo.fd, read, task.copyTo.offset + done)
      done += read
      if (done - told >= PROGRESS_EVERY || done === task.length) {
        reply({ id: task.id, type: 'progress', bytes: done - told })
        told = done
      }
    }
    reply({ id: task.id, type: 'done', digest: `sha256:${hash.digest('hex')}` })
  } catch (error) {
    const { message, code, isWrite } = error as NodeJS.ErrnoException & { isWrite?: boolean }
    reply({ id: task.id, type: 'failed', message, code, isWrite: isWrite ?? false })
  }
})

function write(fd: number, length: number, offset: number): void {
  try {
    for (let done = 0; done < length;) done += writeSync(fd, buffer, done, length - done, offset + done)
  } catch (error) {
    throw Object.assign(error as Error, { isWrite: true })
  }
}
