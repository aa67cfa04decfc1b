import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import type * as Program from '../../src/cli/main.ts'
import { deriveKeysOnce } from '../trust/scrypt-once.ts'

/**
 * One process that runs the built command again and again, each time with the folder, the variables and the streams that
 * it is told: starting Node.js and loading the command costs more than most commands do.
 *
 * A run is over when Node.js has nothing more to do, which is when a process of its own would end: a command that left a
 * connection or a timer behind would not end here either. One that ends the process itself ends this one.
 */
const ROOT = join(import.meta.dirname, '../..')

export interface Order {
  /** Instead of the command: a module that runs when it is loaded, with its arguments in `process.argv`. */
  program: string | undefined
  args: readonly string[]
  cwd: string | undefined
  env: NodeJS.ProcessEnv
  stdin: string
}

export interface Answer {
  code: number
  /** This process is at its end, too. */
  isLast: boolean
  stdout: Uint8Array
  stderr: Uint8Array
}

const EVENTS = ['SIGINT', 'SIGTERM', 'uncaughtException', 'warning'] as const

class Captured extends Writable {
  #chunks: Buffer[] = []

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(Buffer.from(chunk))
    done()
  }

  take(): Buffer {
    const bytes = Buffer.concat(this.#chunks)
    this.#chunks = []
    return bytes
  }
}

const stdout = new Captured()
const stderr = new Captured()
let stdin = Readable.from([])
Object.defineProperties(process, {
  stdout: { get: () => stdout },
  stderr: { get: () => stderr },
  stdin: { get: () => stdin },
})

let isRunning = false

function answer(code: number, isLast: boolean): void {
  if (!isRunning) return
  isRunning = false
  for (const name of EVENTS) process.removeAllListeners(name)
  for (const stream of [stdout, stderr]) stream.removeAllListeners()
  process.exitCode = undefined
  process.channel?.ref()
  process.send?.({ code, isLast, stdout: stdout.take(), stderr: stderr.take() } satisfies Answer)
}

process.on('beforeExit', () => answer(Number(process.exitCode ?? 0), false))
process.on('exit', (code) => answer(code, true))
process.on('disconnect', () => process.exit())

deriveKeysOnce()
const { main } = (await import(join(ROOT, 'dist/cli/main.js'))) as typeof Program

let loaded = 0

/** Loaded anew each time, and what it imports once. */
async function load(program: string): Promise<void> {
  loaded += 1
  await import(`${pathToFileURL(program).href}?${loaded}`)
}

process.on('message', ({ program, args, cwd, env, stdin: input }: Order) => {
  isRunning = true
  for (const name of Object.keys(process.env)) delete process.env[name]
  Object.assign(process.env, env)
  process.chdir(cwd ?? ROOT)
  process.argv.splice(2, Infinity, ...args)
  stdin = Readable.from(input === '' ? [] : [Buffer.from(input)])
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => stderr.write(`(node) ${name}: ${message}\n`))
  void (program === undefined ? main(args) : load(program))
  // From here on, only what the command does keeps this process alive.
  process.channel?.unref()
})
