import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { buildImage, seedRegistry, seededBytes, type BuiltImage } from '../../../fixtures/images/index.ts'
import { BundleReader } from '../../../src/bundle/reader.ts'
import {
  pack,
  parsePlatform,
  type KeylessOptions,
  type PackOptions,
  type Packed,
  type TransferEvent,
} from '../../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../../support/registry/registry.ts'
import { temporaryFolder } from '../../support/build-bundle.ts'
import {
  identityToken,
  startServices,
  type ServiceOptions,
  type SigningConfigJson,
  type TestServices,
} from '../../support/sigstore-services.ts'

/** A registry with the small images `one` and `two`, services to sign with, and a folder with what a pack needs. */
export interface Place {
  source: EmbeddedRegistry
  built: BuiltImage[]
  images: string[]
  services: TestServices
  folder: string
  output: string
  token: string
  root: string
  events: TransferEvent[]
  /** Packs `one`, signed without a key. */
  pack(keyless?: Partial<KeylessOptions>, more?: Partial<PackOptions>): Promise<Packed>
  renewToken(claims?: Record<string, unknown>): Promise<void>
  configure(change: (config: SigningConfigJson) => void): Promise<void>
  /** How often blobs and manifests were asked for since the last call. */
  asked(): number
}

let built: Promise<BuiltImage[]> | undefined

function imageOf(name: string): Promise<BuiltImage> {
  return buildImage({
    platform: parsePlatform('linux/amd64'),
    files: { 'some.bin': seededBytes(name, 40_000) },
    layers: 2,
    compression: 'none',
  })
}

export async function openPlace(options?: ServiceOptions): Promise<Place> {
  built ??= Promise.all(['one', 'two'].map(imageOf))
  const [images, source, services, folder] = await Promise.all([
    built,
    startRegistry(),
    startServices(options),
    temporaryFolder(),
  ])
  onTestFinished(() => source.close())
  images.forEach((image, i) => seedRegistry(source.store, `${['one', 'two'][i]}:1`, image))
  const names = [`${source.host}/one:1`, `${source.host}/two:1`]
  const [output, token, root, config] = [
    join(folder, 'out.tar'),
    join(folder, 'token'),
    join(folder, 'trusted_root.json'),
    join(folder, 'signing.json'),
  ]
  const events: TransferEvent[] = []
  const place: Place = {
    source,
    built: images,
    images: names,
    services,
    folder,
    output,
    token,
    root,
    events,
    renewToken: (claims) => writeFile(token, `${identityToken(claims)}\n`),
    configure: (change) => writeFile(config, services.signingConfig(change)),
    pack: (keyless, more) =>
      pack({
        images: names.slice(0, 1),
        output,
        retries: 0,
        onEvent: (event) => events.push(event),
        key: {
          keyless: { identityToken: { file: token }, signingConfig: config, trustedRoot: root, ...keyless },
        },
        ...more,
      }),
    asked: () => source.requests.splice(0).filter(({ path }) => path !== '/v2/').length,
  }
  await Promise.all([place.renewToken(), place.configure(() => {}), writeFile(root, services.trustedRoot)])
  return place
}

/** Expects that all is fetched and only the signature is missing. */
export async function expectUnsigned(place: Place, code: string, message: RegExp): Promise<void> {
  const { output } = place
  await expect(place.pack()).rejects.toMatchObject({
    code: 'INCOMPLETE',
    message: `${output} is complete except for its signature, which could not be made`,
    problems: [
      { entry: 'SHA256SUMS.sigstore.json', code, message: expect.stringMatching(message) as string },
    ],
    hint: expect.stringMatching(/same command only has to sign/) as string,
  })
  // Nothing that looks signed.
  await using reader = await BundleReader.open(`${output}.partial`)
  expect((await reader.readHead()).sigstore).toBeUndefined()
}
