/// <reference types="node" preserve="true" />
/**
 * airgap as a library: the engines behind the commands, and their types. Engines print nothing; they tell what
 * they do by events, can be called off by a signal, and throw {@link AirgapError}.
 */
export { resolve } from './pack/resolve.ts'
export type { ResolveOptions, SelectionOptions, SourceOptions } from './pack/resolve.ts'
export { pack, type Packed, type PackOptions } from './pack/pack.ts'
export type { UnfinishedPack } from './pack/pack-file.ts'
export type { KeylessOptions } from './pack/keyless.ts'
export { fetchTrustRoot } from './trust-root/trust-root.ts'
export type {
  FetchedTrustRoot,
  TrustedInstance,
  TrustRootOptions,
  TufMetadata,
} from './trust-root/trust-root.ts'
export type { CertifiedIdentity } from './trust/keyless/certificate.ts'
export type { LogEntryPlace } from './trust/keyless/sign.ts'
export { verify, type VerifyOptions } from './verify/verify.ts'
export { sign, type SignOptions } from './verify/sign.ts'
export { planPush, push, type PushOptions } from './push/push.ts'
export type { ImageSigningOptions } from './push/image-signatures/options.ts'
export { clusterPolicy, type ClusterPolicy, type ClusterPolicyOptions } from './push/admission/admission.ts'
export { serve, type ServeOptions } from './serve/serve.ts'
export type { ReportOptions } from './verify/report/report.ts'
export type { UpstreamCheckOptions, UpstreamOptions } from './upstream/options.ts'
export type { DescriptionOptions } from './pack/describe.ts'
export type { MirrorOptions } from './inputs/mirrors/known.ts'
export type { MirrorUse } from './registry/mirrors/mirrors.ts'
export type { NetworkOptions, RegistryAccess, RegistryLogin } from './registry/options.ts'
export type { RunOptions } from './content/run.ts'
export type { SequenceOptions } from './verify/sequences/recall.ts'
export type { TrustOptions } from './verify/trust.ts'

export { AirgapError, EXIT_CODES, type AirgapErrorOptions, type ErrorCode, type Problem } from './errors.ts'
export type { TransferEvent, OnEvent, Phase, ItemOutcome } from './content/events.ts'
export type { RegistryNotice } from './registry/notices.ts'
export type { HostTls, HostTlsTable } from './registry/net/trust.ts'
export type { ProxySettings } from './registry/net/proxies.ts'

export { collectImages, type InputPlaces, type Inputs, type NamedImage } from './inputs/inputs.ts'
export { readConfig, type ConfigFile } from './inputs/config/config.ts'
export type { Config, ConfigKey } from './inputs/config/schema.ts'
export { kubeadmImages } from './inputs/kubeadm.ts'
export { parseImageList } from './inputs/image-list.ts'
export { parseReference, formatReference, type Reference } from './oci/reference.ts'
export { parsePlatform, formatPlatform, type Platform } from './oci/platform.ts'
export { parsePattern, type ReferencePattern } from './oci/pattern.ts'
export type { Digest } from './oci/digest.ts'
export type { Descriptor, Index, Manifest, ManifestOrIndex } from './oci/manifest.ts'

export { parseLock, serializeLock, type Lock } from './pack/lock.ts'
export type { BundleDescription, ImageEntry, ImagePlatform, SkippedImage } from './bundle/description.ts'
export type { ReferrerEntry } from './bundle/referrers.ts'
export type { ReferrerChoice } from './oci/manifest.ts'
export type { BundleEntry, BundleReader } from './bundle/reader.ts'
export type { Checksums } from './bundle/checksums.ts'
export type { Amount } from './content/events.ts'
export type { Closure } from './content/graph.ts'
export type { ReferrerGraph } from './content/referrers.ts'
export type { Authentication } from './verify/authenticate.ts'
export type { Signer } from './verify/signers.ts'
export type {
  ClockFault,
  ImageGraph,
  OpenedBundle,
  SequenceEvidence,
  VerifiedBundle,
} from './verify/opened-bundle.ts'
export type { ImageSignatureFormat } from './push/image-signatures/plan.ts'
export type { Enforcer, PolicyFile } from './push/admission/policy.ts'
export type { UpstreamVerdict } from './upstream/verdict.ts'
export type { UpstreamRecord, UpstreamSignature } from './bundle/upstream.ts'
export type { PlannedPush } from './push/planned-push.ts'
export { serializeReceipt, type Receipt } from './push/receipt.ts'
export {
  serializeReport,
  type Report,
  type ReportedCommand,
  type ReportedRule,
} from './verify/report/document.ts'
export type { ListenAddress } from './serve/address.ts'
export type { ServedImage } from './serve/names.ts'
export type { ServedBundles } from './serve/start.ts'
export type { RequestLogEntry } from './serve/registry/request.ts'

export { readPrivateKey, readPublicKey, type PublicKey, type SigningKey } from './trust/keys.ts'
export { signBytes, type Signature } from './trust/signature.ts'
export { openSignCommand, type SignCommandOptions } from './trust/sign-command.ts'
export type { IdentityOptions } from './trust/identity/identity.ts'
export { readTrustedRoot, type Root as TrustedRoot } from './trust/identity/trusted-root.ts'
export { readPolicy } from './trust/policy/read.ts'
export type { Policy } from './trust/policy/policy.ts'
export type { CountedSignature, RuleVerdict, SignersVerdict } from './trust/policy/requirement.ts'
export type {
  LogEntry,
  SignedBy,
  SignedByIdentity,
  SignedByKey,
  VerifiedSignature,
} from './trust/verified.ts'
export type { PasswordSource } from './trust/password.ts'
export { writeKeyPair, type KeyPairFiles } from './trust/key-files.ts'
