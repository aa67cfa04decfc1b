import { once } from 'node:events'
import type { Airgap } from './airgap.ts'
import { poll } from './processes.ts'

/** What the suite reads of `airgap serve --json`. */
export interface ServeDocument {
  url: string
  advertised: string
  hostsFiles: { registry: string; path: string; content: string }[]
  registriesConf: { path: string; content: string }
  images: { source: string; digest: string; names: string[] }[]
}

/** A running `airgap serve`. */
export interface Serving extends AsyncDisposable {
  document: ServeDocument
  /** `127.0.0.1:PORT` */
  host: string
  pid: number
  /** The access log so far. */
  log: () => string
  /** Ends it by a signal, and gives its exit code. */
  stop: (signal?: NodeJS.Signals) => Promise<number | null>
}

/** Starts `airgap serve` on a free port of 127.0.0.1 and waits until it listens. */
export async function startServing(airgap: Pick<Airgap, 'start'>, ...args: string[]): Promise<Serving> {
  const { child, ended } = airgap.start('serve', ...args, '--listen', '127.0.0.1:0', '--json')
  let output = ''
  let log = ''
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const document = await poll('airgap serve to listen', () => {
    if (child.exitCode !== null) throw new Error(`airgap serve ended with ${child.exitCode}\n${output}${log}`)
    return output.endsWith('}\n') ? (JSON.parse(output) as ServeDocument) : undefined
  })
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit')
      child.kill(signal)
      await exit
    }
    return (await ended).code
  }
  return {
    document,
    host: new URL(document.url).host,
    pid: child.pid ?? 0,
    log: () => log,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop()
    },
  }
}
