/**
 * airgap as a library: the engines behind the commands, and their types. Engines print nothing; they tell what
 * they do by events, can be called off by a signal, and throw {@link AirgapError}.
 */
export { resolve, type ResolveOptions, type SelectionOptions, type SourceOptions } from './library/resolve.ts'
export { pack, type Packed, type PackOptions } from './library/pack.ts'
export { verify, type VerifyOptions } from './library/verify.ts'
export { planPush, push, type PlannedPush, type PushOptions } from './library/push.ts'
export { serve, type ServeOptions } from './library/serve.ts'
export type { DescriptionOptions } from './library/description.ts'
export type { NetworkOptions, RunOptions } from './library/run.ts'
export type { Trust } from './library/trust.ts'

export { AirgapError, EXIT_CODES, type ErrorCode, type Problem } from './errors.ts'
export type { TransferEvent, OnEvent, Phase, ItemOutcome } from './transfer/events.ts'
export type { RegistryOptions } from './registry/client.ts'
export type { Mirror } from './registry/mirrors.ts'

export { collectImages, type Inputs, type NamedImage } from './intake/inputs.ts'
export { readConfig, type ConfigFile } from './intake/config/config.ts'
export type { Config } from './intake/config/schema.ts'
export { kubeadmImages } from './intake/kubeadm.ts'
export { parseImageList } from './intake/image-list.ts'
export { parseReference, formatReference, type Reference } from './oci/reference.ts'
export { parsePlatform, formatPlatform, type Platform } from './oci/platform.ts'
export { parsePattern, type ReferencePattern } from './oci/pattern.ts'
export type { Digest } from './oci/digest.ts'

export { parseLock, serializeLock, type Lock } from './transfer/pack/lock.ts'
export type { BundleDescription, ImageEntry } from './bundle/description.ts'
export type { OpenedBundle, VerifiedBundle } from './transfer/check/opened-bundle.ts'
export { openBundle } from './transfer/check/open.ts'
export type { ServedBundles } from './transfer/serve/serve.ts'
export { serializeReceipt, type Receipt } from './transfer/push/receipt.ts'

export { readPrivateKey, readPublicKey, type PublicKey, type SigningKey } from './trust/keys.ts'
export { writeKeyPair } from './trust/key-files.ts'
