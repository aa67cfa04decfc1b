import { digestOf, hexOf, isDigest, type Digest } from './digest.ts'
import { compareBytes } from './json.ts'
import type { Descriptor, Manifest, ManifestOrIndex } from './manifest.ts'

/*
 * Where cosign stores signatures, attestations and SBOMs of an image (sigstore/cosign, specs/SIGNATURE_SPEC.md
 * § Storage): they are layers of a manifest whose tag is derived from the image's digest.
 */

export const COSIGN_KINDS = ['sig', 'att', 'sbom'] as const
export type CosignKind = (typeof COSIGN_KINDS)[number]

/** The payload that cosign signs; the signature is the layer's annotation. */
export const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json'
/** The layer's annotation with the signature over the payload, in base64. */
export const SIGNATURE_ANNOTATION = 'dev.cosignproject.cosign/signature'
/** Annotations of a layer that was signed with a certificate: the certificate (PEM), the log's answer, a timestamp. */
export const CERTIFICATE_ANNOTATION = 'dev.sigstore.cosign/certificate'
export const LOG_ENTRY_ANNOTATION = 'dev.sigstore.cosign/bundle'
export const TIMESTAMP_ANNOTATION = 'dev.sigstore.cosign/rfc3161timestamp'

/** The predicate type that `cosign sign` uses since version 3. A statement of any other type is an attestation. */
export const COSIGN_SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1'

/** `sha256-<hex>.sig` */
export function cosignTag(subject: Digest, kind: CosignKind): string {
  return `sha256-${hexOf(subject)}.${kind}`
}

/** Which image a cosign tag belongs to, and what it holds; undefined for every other tag. */
export function parseCosignTag(tag: string): { subject: Digest; kind: CosignKind } | undefined {
  const match = /^sha256-([0-9a-f]{64})\.(sig|att|sbom)$/.exec(tag)
  const subject = `sha256:${match?.[1]}`
  return match && isDigest(subject) ? { subject, kind: match[2] as CosignKind } : undefined
}

/**
 * Why the content of a cosign tag is not what the tag claims; undefined if it is. Some registries, such as GitLab's,
 * have answered a request for the tag with the image itself.
 */
export function cosignFault(
  document: ManifestOrIndex,
  { subject, kind }: { subject: Digest; kind: CosignKind },
): string | undefined {
  if (document.digest === subject) return 'it is the very image that it should belong to'
  if (document.kind === 'index') return 'it is an index of images'
  if (document.layers.some(isImageLayer)) return 'it is an image, with layers of files'
  if (document.layers.length === 0) return 'it is empty'
  const isSignature = document.layers.some(({ mediaType }) => mediaType === SIMPLE_SIGNING)
  return kind === 'sig' && !isSignature ? 'it holds no signature' : undefined
}

/**
 * Whether a layer holds an image's files. Only layers can tell: the configs of cosign's manifests have the media type
 * of image configs.
 */
function isImageLayer({ mediaType }: Descriptor): boolean {
  return /^application\/vnd\.(?:oci\.image\.layer|docker\.image\.rootfs)\./.test(mediaType)
}

/**
 * The layers that a manifest under a cosign tag lacks, without duplicates. Layers are compared with their annotations,
 * because two signatures can have the same payload.
 */
export function lackingLayers(there: readonly Descriptor[], layers: readonly Descriptor[]): Descriptor[] {
  const had = new Set(there.map(identityOf))
  return layers.filter((layer) => {
    const identity = identityOf(layer)
    if (had.has(identity)) return false
    had.add(identity)
    return true
  })
}

function identityOf({ mediaType, digest, annotations }: Descriptor): string {
  const notes = Object.entries(annotations ?? {}).toSorted(([a], [b]) => compareBytes(a, b))
  return JSON.stringify([mediaType, digest, notes])
}

/** The manifest with the layers that it lacks appended and everything else unchanged; if it lacks none, the same object. */
export function withLayers(
  manifest: Manifest,
  layers: readonly Descriptor[],
  config: Descriptor = manifest.config,
): Manifest {
  const lacking = lackingLayers(manifest.layers, layers)
  if (lacking.length === 0) return manifest
  const before = JSON.parse(Buffer.from(manifest.bytes).toString('utf8')) as object
  const all = [...manifest.layers, ...lacking]
  const bytes = Buffer.from(JSON.stringify({ ...before, config, layers: all }))
  return { ...manifest, bytes, digest: digestOf(bytes), config, layers: all }
}

/** Sigstore bundles of any version, cosign's signatures with a subject, Notation's signatures. */
const SIGNATURE_TYPES =
  /^application\/vnd\.(?:dev\.sigstore\.bundle(?:[.+].*)?|dev\.cosign\.artifact\.sig\.v1\+json|cncf\.notary\.signature)$/

/** Whether something of this artifactType is, or can be, a signature. */
export function isSignatureType(artifactType: string | undefined): boolean {
  return artifactType !== undefined && SIGNATURE_TYPES.test(artifactType)
}
