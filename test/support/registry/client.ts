import { expect } from 'vitest'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { ACCEPTED_MANIFESTS } from '../../../src/oci/media-types.ts'
import type { Built } from '../../../fixtures/images/index.ts'

export const ACCEPT = { accept: ACCEPTED_MANIFESTS }

/** The code of the first error in a registry's answer. */
export async function codeOf(response: Response): Promise<string | undefined> {
  const body = (await response.json()) as { errors?: { code: string }[] }
  return body.errors?.[0]?.code
}

export async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer())
}

export async function pushBlob(base: string, bytes: Uint8Array): Promise<Digest> {
  const digest = digestOf(bytes)
  const response = await fetch(`${base}/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes })
  expect(response.status).toBe(201)
  return digest
}

export async function putManifest(base: string, reference: string, image: Built): Promise<Response> {
  return await fetch(`${base}/manifests/${reference}`, {
    method: 'PUT',
    body: image.bytes,
    headers: { 'content-type': image.descriptor.mediaType },
  })
}

/** Pushes an image with everything below it over HTTP, children first. */
export async function pushImage(base: string, reference: string, image: Built): Promise<Response> {
  if (image.kind === 'index') {
    for (const child of image.children) await pushImage(base, child.descriptor.digest, child)
  } else {
    for (const blob of [image.config, ...image.layers]) await pushBlob(base, blob.bytes)
  }
  return await putManifest(base, reference, image)
}
