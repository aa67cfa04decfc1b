/// <reference types="node" preserve="true" />
/**
 * airgap as a library: the engines behind the commands, and their types. Engines print nothing; they tell what
 * they do by events, can be called off by a signal, and throw {@link AirgapError}.
 */
export { resolve } from './library/resolve.ts'
export type { ResolveOptions, SelectionOptions, SourceOptions } from './library/request.ts'
export { pack, type Packed, type PackOptions } from './library/pack.ts'
export type { UnfinishedPack } from './library/pack-file.ts'
export type { KeylessOptions } from './library/keyless.ts'
export { fetchTrustRoot } from './library/trust-root/trust-root.ts'
export type {
  FetchedTrustRoot,
  TrustedInstance,
  TrustRootOptions,
  TufMetadata,
} from './library/trust-root/trust-root.ts'
export type { CertifiedIdentity } from './trust/keyless/certificate.ts'
export type { LogEntryPlace } from './trust/keyless/sign.ts'
export { verify, type VerifyOptions } from './library/verify.ts'
export { sign, type SignOptions } from './library/sign.ts'
export { planPush, push, type PushOptions } from './library/push.ts'
export type { ImageSigningOptions } from './library/image-signing.ts'
export { clusterPolicy, type ClusterPolicy, type ClusterPolicyOptions } from './library/cluster-policy.ts'
export { serve, type ServeOptions } from './library/serve.ts'
export type { ReportOptions } from './library/reporting.ts'
export type { UpstreamCheckOptions, UpstreamOptions } from './library/upstream.ts'
export type { DescriptionOptions } from './library/description.ts'
export type { MirrorOptions } from './library/mirrors.ts'
export type { MirrorUse } from './registry/mirrors/in-use.ts'
export type { NetworkOptions, RegistryAccess, RegistryLogin } from './library/network.ts'
export type { RunOptions } from './library/run.ts'
export type { SequenceOptions } from './library/sequences.ts'
export type { Trust } from './library/trust.ts'

export { AirgapError, EXIT_CODES, type AirgapErrorOptions, type ErrorCode, type Problem } from './errors.ts'
export type { TransferEvent, OnEvent, Phase, ItemOutcome } from './transfer/events.ts'
export type { RegistryNotice } from './registry/notices.ts'
export type { HostTls, HostTlsTable } from './registry/way/host-tls.ts'
export type { ProxySettings } from './registry/way/proxies.ts'

export { collectImages, type InputPlaces, type Inputs, type NamedImage } from './intake/inputs.ts'
export { readConfig, type ConfigFile } from './intake/config/config.ts'
export type { Config, ConfigKey } from './intake/config/schema.ts'
export { kubeadmImages } from './intake/kubeadm.ts'
export { parseImageList } from './intake/image-list.ts'
export { parseReference, formatReference, type Reference } from './oci/reference.ts'
export { parsePlatform, formatPlatform, type Platform } from './oci/platform.ts'
export { parsePattern, type ReferencePattern } from './oci/pattern.ts'
export type { Digest } from './oci/digest.ts'
export type { Descriptor, Index, Manifest, ManifestOrIndex } from './oci/manifest.ts'

export { parseLock, serializeLock, type Lock } from './transfer/pack/lock.ts'
export type { BundleDescription, ImageEntry, ImagePlatform, SkippedImage } from './bundle/description.ts'
export type { ReferrerEntry } from './bundle/referrers.ts'
export type { ReferrerChoice } from './oci/referrer.ts'
export type { BundleEntry, BundleReader } from './bundle/reader.ts'
export type { Checksums } from './bundle/checksums.ts'
export type { Amount } from './transfer/amount.ts'
export type { Closure } from './transfer/graph.ts'
export type { ReferrerGraph } from './transfer/referrers.ts'
export type { Authentication } from './transfer/check/authenticate.ts'
export type { Signer } from './transfer/check/signers.ts'
export type { ClockFault } from './transfer/check/clock.ts'
export type { SequenceEvidence } from './transfer/sequences/memory.ts'
export type { ImageGraph, OpenedBundle, VerifiedBundle } from './transfer/check/opened-bundle.ts'
export type { ImageSignatureFormat } from './transfer/push/image-signatures/plan.ts'
export type { Enforcer, PolicyFile } from './transfer/push/cluster-policy/policy.ts'
export type { UpstreamVerdict } from './transfer/upstream/verdict.ts'
export type { UpstreamRecord, UpstreamSignature } from './bundle/upstream.ts'
export type { PlannedPush } from './transfer/push/planned-push.ts'
export { serializeReceipt, type Receipt } from './transfer/push/receipt.ts'
export {
  serializeReport,
  type Report,
  type ReportedCommand,
  type ReportedRule,
} from './transfer/report/document.ts'
export type { ListenAddress } from './transfer/serve/address.ts'
export type { ServedImage } from './transfer/serve/names.ts'
export type { ServedBundles } from './transfer/serve/serve.ts'
export type { RequestLogEntry } from './serve/registry/request.ts'

export { readPrivateKey, readPublicKey, type PublicKey, type SigningKey } from './trust/keys.ts'
export { signBytes, type Signature } from './trust/signature.ts'
export { openSignCommand, type SignCommandOptions } from './trust/sign-command/sign-command.ts'
export type { IdentityOptions } from './trust/identity/identity.ts'
export { readTrustedRoot, type Root as TrustedRoot } from './trust/identity/trusted-root.ts'
export { readPolicy } from './trust/policy/read.ts'
export type { Policy } from './trust/policy/policy.ts'
export type { CountedSignature, RuleVerdict, SignersVerdict } from './trust/policy/verdict.ts'
export type {
  LogEntry,
  SignedBy,
  SignedByIdentity,
  SignedByKey,
  VerifiedSignature,
} from './trust/verified.ts'
export type { PasswordSource } from './trust/password.ts'
export { writeKeyPair, type KeyPairFiles } from './trust/key-files.ts'
