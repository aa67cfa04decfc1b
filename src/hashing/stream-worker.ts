import { createHash, type Hash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import type { StreamReply, StreamRequest } from './stream-threads.ts'

/** Runs in its own thread: hashes the blocks of several streams as they arrive. */
const port = parentPort
if (!port) throw new Error('this file runs as a worker thread only')
const hashes = new Map<number, Hash>()

port.on('message', (request: StreamRequest) => {
  const { stream } = request
  const reply = (message: StreamReply): void => port.postMessage(message)
  if (request.type === 'drop') {
    hashes.delete(stream)
    return
  }
  const hash = hashes.get(stream) ?? createHash('sha256')
  if (request.type === 'update') {
    hashes.set(stream, hash)
    hash.update(new Uint8Array(request.memory, 0, request.length))
    reply({ stream })
  } else {
    hashes.delete(stream)
    reply({ stream, digest: `sha256:${hash.digest('hex')}` })
  }
})
