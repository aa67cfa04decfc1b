import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'
import {
  buildIndex,
  helmChart,
  image,
  AMD64,
  ARM64,
  referrerTo,
  seedRegistry,
  type Built,
} from '../../fixtures/images/index.ts'
import { AirgapError, pack, push, verify, type ErrorCode, type PackOptions } from '../../src/index.ts'
import { hintOf } from '../../src/cli/words/hints.ts'
import { DEFAULT_RETRY } from '../../src/registry/net/throttle/host.ts'
import type { Quirk } from '../support/registry/quirks.ts'
import {
  startRegistry,
  type EmbeddedRegistry,
  type EmbeddedRegistryOptions,
} from '../support/registry/registry.ts'
import { signer, temporaryBundle, temporaryFolder } from '../support/build-bundle.ts'

// What is waited for between attempts is not what is looked at here. Files share their modules.
const retry = { ...DEFAULT_RETRY }
beforeAll(() => void Object.assign(DEFAULT_RETRY, { baseDelayMs: 1, maxDelayMs: 5 }))
afterAll(() => void Object.assign(DEFAULT_RETRY, retry))

export interface Place {
  registry: EmbeddedRegistry
  built: Built
  /** What was told on the way to a person. */
  warnings: string[]
  /** `METHOD STATUS` of the requests whose path matches, in order. */
  seen: (path: RegExp) => string[]
}

/** What one behaviour of registries leads to. */
export interface Behaviour {
  /** What the registry does, and what airgap makes of it. */
  name: string
  quirks?: readonly Quirk[]
  /** It is read from (`pack`), or written to (`push`) with one image of two platforms, or with `built`. */
  side: 'pack' | 'push'
  /** `works`, or the error: its code, and words of its message or hint. */
  ends: 'works' | [ErrorCode, RegExp]
  options?: EmbeddedRegistryOptions
  built?: () => Promise<Built>
  /** Besides `registries`, what pack is asked for. */
  request?: (place: Place) => Partial<PackOptions> | Promise<Partial<PackOptions>>
  /** Puts more into the registry. */
  prepare?: (place: Place) => void | Promise<void>
  /** What else is to be seen at the end. */
  after?: (place: Place) => void | Promise<void>
}

const NOBODY = { credentials: async () => undefined }

/** Runs one behaviour through the library: a whole pack, verified, or a whole push, its content compared. */
export async function show(behaviour: Behaviour): Promise<void> {
  const built = await (behaviour.built ?? twoPlatforms)()
  const registry = await startRegistry({ ...behaviour.options, quirks: behaviour.quirks ?? [] })
  onTestFinished(() => registry.close())
  const place: Place = {
    registry,
    built,
    warnings: [],
    seen: (path) =>
      registry.requests
        .filter((entry) => path.test(entry.path))
        .map(({ method, status }) => `${method} ${status}`),
  }
  const work = behaviour.side === 'pack' ? packed(behaviour, place) : pushed(behaviour, place)
  if (behaviour.ends === 'works') await work
  else await expectFailure(work, behaviour.ends, `${registry.host}/`)
  await behaviour.after?.(place)
}

async function packed(behaviour: Behaviour, place: Place): Promise<void> {
  const { registry, built } = place
  seedRegistry(registry.store, 'team/app:1', built)
  await behaviour.prepare?.(place)
  const output = join(await temporaryFolder(), 'bundle.tar')
  const options: PackOptions = {
    images: [`${registry.host}/team/app:1`],
    registries: NOBODY,
    output,
    key: signer,
    onEvent: (event) => event.type === 'warning' && place.warnings.push(event.message),
    ...(await behaviour.request?.(place)),
  }
  await pack(options)
  const { description } = await verify(output, { keys: [signer.publicKey] })
  expect(description.images.map(({ digest }) => digest)).toEqual([built.descriptor.digest])
}

async function pushed(behaviour: Behaviour, place: Place): Promise<void> {
  const { registry, built } = place
  await behaviour.prepare?.(place)
  const bundle = await bundleOf(built)
  const receipt = await push(bundle, `${registry.host}/mirror`, {
    keys: [signer.publicKey],
    registries: NOBODY,
    path: 'strip-host',
    onEvent: (event) => event.type === 'warning' && place.warnings.push(event.message),
  })
  expect(receipt.complete).toBe(true)
  for (const repository of ['mirror/team/app', 'mirror/team/copy']) {
    expect(registry.store.manifest(repository, '1')?.bytes).toEqual(built.bytes)
    for (const content of contentsOf(built)) expect(await isThere(registry, repository, content)).toBe(true)
  }
}

async function isThere(
  { store }: EmbeddedRegistry,
  repository: string,
  { descriptor: { digest } }: { descriptor: { digest: Built['descriptor']['digest'] } },
): Promise<boolean> {
  return (store.manifest(repository, digest) ?? store.blob(repository, digest)) !== undefined
}

const bundles = new Map<string, Promise<Buffer>>()

/** A bundle of an image under two names, so that its blobs can be mounted. Each is packed once. */
async function bundleOf(built: Built): Promise<string> {
  const { digest } = built.descriptor
  const bytes = bundles.get(digest) ?? packOf(built)
  bundles.set(digest, bytes)
  return temporaryBundle(await bytes)
}

async function packOf(built: Built): Promise<Buffer> {
  await using source = await startRegistry()
  for (const name of ['team/app:1', 'team/copy:1']) {
    seedRegistry(source.store, name, built, { withForeignLayers: true })
  }
  const output = join(await temporaryFolder(), 'bundle.tar')
  const images = [`${source.host}/team/app:1`, `${source.host}/team/copy:1`]
  await pack({ images, output, key: signer, registries: NOBODY })
  return readFile(output)
}

async function expectFailure(
  work: Promise<void>,
  [code, words]: [ErrorCode, RegExp],
  named: string,
): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(AirgapError)
  const { code: actual, message, problems } = error as AirgapError
  const hint = hintOf(error as AirgapError) ?? ''
  const all = [message, ...problems.map(({ entry, message: each }) => `${entry}: ${each}`), hint].join('\n')
  expect({ code: actual, message }).toMatchObject({ code })
  expect(all).toMatch(words)
  // Whatever happens, the registry and the repository are named.
  expect(all).toContain(named)
}

function contentsOf(built: Built): { descriptor: Built['descriptor'] }[] {
  const below = built.kind === 'index' ? built.children.flatMap(contentsOf) : [built.config, ...built.layers]
  return [built, ...below]
}

let usual: Promise<Built> | undefined

/** An image of two platforms, each with a layer large enough to be cut in the middle. */
export function twoPlatforms(): Promise<Built> {
  usual ??= Promise.all([AMD64, ARM64].map((platform) => image('app', platform))).then(buildIndex)
  return usual
}

/** An image beside what refers to it, as BuildKit lists attestations with a subject. */
export async function withReferrer(): Promise<Built> {
  const one = await image('app', AMD64)
  return buildIndex([one, referrerTo(one.descriptor, 'application/vnd.in-toto+json', 'statement')])
}

/** A manifest of more than 1 KiB. */
export async function chartWithLongName(): Promise<Built> {
  return helmChart('c'.repeat(1200))
}

/** Fails where a file has no test of that name any more. */
export async function expectProven(file: string, title: string): Promise<void> {
  const text = await readFile(join(import.meta.dirname, '../..', file), 'utf8')
  expect(text).toContain(title)
}
