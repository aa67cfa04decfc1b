import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { expect } from 'vitest'
import { buildImage, seedRegistry, seededBytes } from '../../fixtures/images/index.ts'
import {
  pack,
  parsePlatform,
  planPush,
  push,
  resolve,
  serve,
  verify,
  type RunOptions,
  type TransferEvent,
} from '../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { signer } from '../support/build-bundle.ts'
import { expectNoSecrets } from '../support/secrets/known.ts'

/** Large enough for the threads that hash files (32 MiB together) and those that hash downloads (4 MiB each). */
const LARGE = 17 * 1024 * 1024
/** Too small for any thread. */
export const SMALL = 100_000

/** A registry with two images that share nothing; for as long as the test file runs. */
export async function startSource(size = LARGE): Promise<EmbeddedRegistry> {
  const registry = await startRegistry()
  for (const name of ['one', 'two']) {
    const built = await buildImage({
      platform: parsePlatform('linux/amd64'),
      files: {
        'large.bin': Buffer.alloc(size, seededBytes(name, 4001)),
        'small.bin': seededBytes(name, 50_000),
      },
      layers: 2,
      compression: 'none',
    })
    seedRegistry(registry.store, `${name}:1`, built)
  }
  return registry
}

/** Something that can be called off. */
export interface Engine {
  name: string
  run(options: RunOptions): Promise<unknown>
  /** Makes ready what each run needs anew. */
  prepare(): Promise<void>
}

/** Every engine over the same two images, at work in one folder. */
export async function enginesIn(
  folder: string,
  source: EmbeddedRegistry,
): Promise<{ engines: Engine[]; output: string; close: () => Promise<void> }> {
  // What a bundle is called without being told to is said when it is complete, and can be called off no more.
  const what = { images: [`${source.host}/one:1`, `${source.host}/two:1`], key: signer, name: 'good' }
  const good = join(folder, 'good.tar')
  const output = join(folder, 'out.tar')
  const trust = { keys: [signer.publicKey] }
  await pack({ ...what, output: good })
  let target: EmbeddedRegistry | undefined
  const newTarget = async (): Promise<void> => {
    await target?.close()
    target = await startRegistry()
  }
  const atTarget = async (options: RunOptions, engine: typeof push | typeof planPush): Promise<unknown> =>
    engine(good, `${target?.host}/mirror`, { ...trust, stateDirectory: false, ...options })
  const noOutput = (): Promise<void> => rm(output, { force: true })
  const engines: [name: string, run: Engine['run'], prepare?: Engine['prepare']][] = [
    ['resolve', (options) => resolve({ images: what.images, ...options })],
    ['pack', (options) => pack({ ...what, output, ...options }), noOutput],
    ['pack with reuse', (options) => pack({ ...what, output, reuse: [good], ...options }), noOutput],
    [
      'pack to a stream',
      async (options) => {
        const stream = new PassThrough().resume()
        await pack({ ...what, output: stream, reuse: [good], ...options })
        expect(stream.writableEnded).toBe(false)
      },
    ],
    ['a planned pack', (options) => pack({ ...what, output: undefined, ...options })],
    ['verify', (options) => verify(good, { ...trust, ...options })],
    ['push', (options) => atTarget(options, push), newTarget],
    ['a planned push', (options) => atTarget(options, planPush), newTarget],
    [
      'serve',
      async (options) => {
        const served = await serve([good], { ...trust, listen: { host: '127.0.0.1', port: 0 }, ...options })
        await served.stop(0)
      },
    ],
  ]
  return {
    engines: engines.map(([name, run, prepare]) => ({ name, run, prepare: prepare ?? (async () => {}) })),
    output,
    close: async () => target?.close(),
  }
}

/** An event as a place in a run: its phase, its type, and the how manieth of those it is. */
export interface Place {
  label: string
  count: number
}

/** Where in a run there is an event worth calling it off at: the first and last of each kind in each phase. */
export async function placesOf(engine: Engine): Promise<Place[]> {
  const counts = new Map<string, number>()
  const label = labeller()
  await engine.prepare()
  await engine.run({
    onEvent: (event) => {
      const name = label(event)
      counts.set(name, (counts.get(name) ?? 0) + 1)
    },
  })
  return [...counts].flatMap(([name, count]) =>
    // How many steps a progress has depends on the machine.
    [1, ...(count > 1 && !name.endsWith('progress') ? [count] : [])].map((at) => ({
      label: name,
      count: at,
    })),
  )
}

/** Calls `action` at a place, from within the listener, and keeps what is told before and after. */
export function actAt(
  { label: wanted, count }: Place,
  action: () => void,
): { onEvent: (event: TransferEvent) => void; afterwards: TransferEvent[]; hasActed: () => boolean } {
  const label = labeller()
  const afterwards: TransferEvent[] = []
  let seen = 0
  let acted = false
  return {
    afterwards,
    hasActed: () => acted,
    onEvent: (event) => {
      expectNoSecrets(JSON.stringify(event), 'an event')
      if (acted) afterwards.push(event)
      if (label(event) !== wanted) return
      seen += 1
      if (seen !== count || acted) return
      acted = true
      action()
    },
  }
}

function labeller(): (event: TransferEvent) => string {
  let phase = 'before'
  return (event) => {
    if (event.type === 'phase') phase = event.phase
    return `${phase} ${event.type}`
  }
}

/** What a promise comes to, for looking at a reason of any kind. */
export async function outcomeOf(promise: Promise<unknown>): Promise<{ reason?: unknown; value?: unknown }> {
  return promise.then(
    (value) => ({ value }),
    (reason: unknown) => ({ reason }),
  )
}
