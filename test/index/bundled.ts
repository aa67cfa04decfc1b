import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { buildImage, seedRegistry, seededBytes } from '../../fixtures/images/index.ts'
import { pack, parsePlatform } from '../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { signer, temporaryFolder } from '../support/build-bundle.ts'
import { outcomeOf } from '../content/engines.ts'
import { takeUnfinished, watch } from '../pack/resume/leftovers.ts'

/** What a run is called off with here. */
export const REASON = new Error('the shift is over')

/**
 * Expects that a run which waits for something that never comes ends when it is called off then.
 * @param output of a pack that may leave something to go on with.
 */
export async function expectEnd(
  folder: string,
  stuck: Promise<unknown>,
  run: (signal: AbortSignal) => Promise<unknown>,
  output?: string,
): Promise<void> {
  const left = watch(folder)
  const controller = new AbortController()
  void stuck.then(() => controller.abort(REASON))
  expect(await outcomeOf(run(controller.signal))).toEqual({ reason: REASON })
  if (output !== undefined) takeUnfinished(output)
  await left.expectNothingLeft()
}

/** An image `app:1` whose layer has `size` bytes, and what it answers to. */
export async function seed(registry: EmbeddedRegistry, size: number): Promise<string> {
  const built = await buildImage({
    platform: parsePlatform('linux/amd64'),
    files: { 'file.bin': Buffer.alloc(size, seededBytes('stuck', 1009)) },
    compression: 'none',
  })
  seedRegistry(registry.store, 'app:1', built)
  return `${registry.host}/app:1`
}

/** A registry with one image, and a bundle of it. */
export async function bundled(size: number): Promise<{ folder: string; image: string; bundle: string }> {
  const source = await startRegistry()
  onTestFinished(() => source.close())
  const image = await seed(source, size)
  const folder = await temporaryFolder()
  const bundle = join(folder, 'good.tar')
  await pack({ images: [image], output: bundle, key: signer })
  return { folder, image, bundle }
}
