import { AMD64, image, seedRegistry, seededBytes } from '../../../fixtures/images/index.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import type { Quirk } from './quirks.ts'
import { startRegistry, type EmbeddedRegistry, type EmbeddedRegistryOptions } from './registry.ts'

export const blob = seededBytes('quirks', 300_000)
export const digest = digestOf(blob)
export const built = await image('quirks', AMD64)

interface Place extends AsyncDisposable {
  registry: EmbeddedRegistry
  blobUrl: string
  manifestUrl: string
  uploads: string
}

/** A registry that shows quirks, with an image `a/b:1` and a blob in it. */
export async function withQuirk(
  quirk: Quirk | Quirk[],
  options: EmbeddedRegistryOptions = {},
): Promise<Place> {
  const registry = await startRegistry({ ...options, quirks: [quirk].flat() })
  seedRegistry(registry.store, 'a/b:1', built)
  registry.store.putBlob('a/b', blob)
  const base = `${registry.url}/v2/a/b`
  return {
    registry,
    blobUrl: `${base}/blobs/${digest}`,
    manifestUrl: `${base}/manifests/1`,
    uploads: `${base}/blobs/uploads/`,
    [Symbol.asyncDispose]: () => registry.close(),
  }
}

/** The bytes that arrive before a body breaks off, and whether it did. */
export async function drain(response: Response): Promise<{ bytes: Buffer; broke: boolean }> {
  const chunks: Uint8Array[] = []
  try {
    for await (const chunk of response.body ?? []) chunks.push(chunk as Uint8Array)
    return { bytes: Buffer.concat(chunks), broke: false }
  } catch {
    return { bytes: Buffer.concat(chunks), broke: true }
  }
}

export const from = (start: number): { headers: { range: string } } => ({
  headers: { range: `bytes=${start}-` },
})
