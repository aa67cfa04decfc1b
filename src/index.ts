/// <reference types="node" preserve="true" />
/**
 * airgap as a library: the engines behind the commands, and their types. Engines print nothing. They report progress by
 * events, can be aborted by a signal, and throw {@link AirgapError}.
 */
export type { ResolveOptions, SelectionOptions, SourceOptions } from './pack/resolve-images.ts'
export type { Packed } from './pack/pack.ts'
export type { PackOptions } from './pack/options.ts'
export type { UnfinishedPack } from './pack/options.ts'
export type { KeylessOptions } from './pack/keyless.ts'
export type {
  FetchedTrustRoot,
  TrustedInstance,
  TrustRootOptions,
  TufMetadata,
} from './trust-root/trust-root.ts'
export type { CertifiedIdentity } from './trust/keyless/certificate.ts'
export type { LogEntryPlace } from './trust/keyless/sign.ts'
export type { VerifyOptions } from './verify/verify.ts'
export type { SignOptions } from './verify/sign.ts'
export type { PushOptions } from './push/push.ts'
export type { NameMap } from './push/names.ts'
export type { ImageSigningOptions } from './push/image-signatures/options.ts'
export type { ClusterPolicy, ClusterPolicyOptions } from './push/admission/admission.ts'
export type { ServeOptions } from './serve/serve.ts'
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
export type { HostTls } from './registry/net/tls.ts'
export type { HostTlsTable } from './registry/net/trust.ts'
export type { ProxySettings } from './registry/net/proxies.ts'

export type { InputPlaces, Inputs, NamedImage } from './inputs/inputs.ts'
export type { ConfigFile } from './inputs/config/config.ts'
export type { Config, ConfigKey } from './inputs/config/schema.ts'
export { kubeadmImages, newestReleases } from './inputs/kubeadm.ts'
export { MAX_LIST_SIZE, parseImageList } from './inputs/image-list.ts'
export { parseReference, formatReference, type Reference } from './oci/reference.ts'
export { parsePlatform, parsePlatforms, formatPlatform, type Platform } from './oci/platform.ts'
export { parsePattern, type ReferencePattern } from './oci/pattern.ts'
export type { Digest } from './oci/digest.ts'
export type { Descriptor, Index, Manifest, ManifestOrIndex } from './oci/manifest.ts'

export { parseLock, serializeLock, type Lock } from './pack/lock.ts'
export type {
  BundleDescription,
  BundleIdentity,
  ImageEntry,
  ImagePlatform,
  SkippedImage,
} from './bundle/description.ts'
export { bundleIdentity } from './bundle/identity.ts'
export { SIGSTORE_SIGNATURE } from './bundle/names.ts'
export type { ReferrerEntry } from './bundle/referrers.ts'
export type { ReferrerChoice } from './oci/manifest.ts'
export type { BundleEntry, BundleReader } from './bundle/reader.ts'
export type { Checksums } from './bundle/checksums.ts'
export type { Amount } from './content/events.ts'
export type { Closure } from './content/graph.ts'
export type { ReferrerGraph } from './content/referrers.ts'
export type { Authentication } from './verify/authenticate.ts'
export { authenticationOf, type Signer } from './verify/signers.ts'
export { policyFields } from './verify/policy-rules.ts'
export {
  contentSums,
  type ClockFault,
  type ImageGraph,
  type OpenedBundle,
  type SequenceEvidence,
  type VerifiedBundle,
} from './verify/opened-bundle.ts'
export type { ImageSignatureFormat } from './push/image-signatures/plan.ts'
export { ENFORCERS, type Enforcer, type PolicyFile } from './push/admission/policy.ts'
export type { UpstreamVerdict } from './upstream/verdict.ts'
export type { UpstreamRecord, UpstreamSignature } from './bundle/upstream.ts'
export type { PlannedPush } from './push/planned-push.ts'
export { isAllTagged, serializeReceipt, type Receipt } from './push/receipt.ts'
export { kubeadmSettings, registryMirrors } from './push/next-steps.ts'
export {
  serializeReport,
  type Report,
  type ReportedCommand,
  type ReportedRule,
} from './verify/report/document.ts'
export { parseListen, reachableHost, readCertificate, type ListenAddress } from './serve/address.ts'
export { registriesOf, type ServedImage } from './serve/names.ts'
export { HostsFolder, hostsFile, registriesConf, type ReachableAt } from './serve/node-config.ts'
export type { ServedBundles } from './serve/serve.ts'
export type { RequestLogEntry } from './serve/registry/request.ts'

export type { PublicKey, SigningKey } from './trust/keys.ts'
export type { Signature } from './trust/signature.ts'
export type { SignCommandOptions } from './trust/sign-command.ts'
export type { IdentityOptions } from './trust/identity/identity.ts'
export type { Root as TrustedRoot } from './trust/identity/trusted-root.ts'
export type { Policy } from './trust/policy/policy.ts'
export type { CountedSignature, RuleVerdict, SignersVerdict } from './trust/policy/requirement.ts'
export type {
  LogEntry,
  SignedBy,
  SignedByIdentity,
  SignedByKey,
  VerifiedSignature,
} from './trust/verified.ts'
export { passwordSource, PASSWORD_VARIABLE, type PasswordSource } from './trust/password.ts'
export type { KeyPairFiles } from './trust/key-files.ts'

export { parseLoginTarget, type LoginTarget } from './registry/auth/login-target.ts'
export type {
  Removal,
  Storage as CredentialStorage,
  StorageOptions,
} from './registry/auth/credential-storage.ts'
export { isLoopbackHost } from './registry/net/hosts.ts'
export { userStateFolder } from './registry/blobs/uploads/state/folder.ts'

// These functions load their engine when they are called, so that reading a lock loads no HTTP and no Sigstore code.

/** A function that is loaded when it is called. */
function lazy<A extends readonly unknown[], R>(
  load: () => Promise<(...args: A) => R | Promise<R>>,
): (...args: A) => Promise<R> {
  return async (...args) => (await load())(...args)
}

/** Pins images to digests. */
export const resolve = lazy(async () => (await import('./pack/resolve.ts')).resolve)
/** Packs images into a bundle. */
export const pack = lazy(async () => (await import('./pack/pack.ts')).pack)
/** Verifies a bundle completely, offline. */
export const verify = lazy(async () => (await import('./verify/verify.ts')).verify)
/** Reads what is in a bundle, without verifying it. */
export const inspect = lazy(async () => (await import('./verify/verify.ts')).inspect)
/** Verifies a bundle and signs it: an approval. */
export const sign = lazy(async () => (await import('./verify/sign.ts')).sign)
/** Verifies a bundle and pushes it to a registry. */
export const push = lazy(async () => (await import('./push/push.ts')).push)
/** Says what {@link push} would do. */
export const planPush = lazy(async () => (await import('./push/push.ts')).planPush)
/** Makes an admission policy for a cluster that runs only images signed by a push. */
export const clusterPolicy = lazy(async () => (await import('./push/admission/admission.ts')).clusterPolicy)
/** Serves bundles as a read-only registry. */
export const serve = lazy(async () => (await import('./serve/serve.ts')).serve)
/** Fetches the trusted root of a Sigstore instance. */
export const fetchTrustRoot = lazy(async () => (await import('./trust-root/trust-root.ts')).fetchTrustRoot)
/** Collects the images that the inputs name. */
export const collectImages = lazy(async () => (await import('./inputs/inputs.ts')).collectImages)
/** Reads a config file. */
export const readConfig = lazy(async () => (await import('./inputs/config/config.ts')).readConfig)
/** Parses a config. */
export const parseConfig = lazy(async () => (await import('./inputs/config/config.ts')).parseConfig)
/** Returns what is wrong with the values of a config. */
export const checkConfig = lazy(async () => (await import('./inputs/config/config.ts')).checkConfig)
/** Writes a config as commented YAML. */
export const formatConfig = lazy(async () => (await import('./inputs/config/template.ts')).formatConfig)
/** Parses `OLD=NEW`, a rule for names in the target. */
export const parseNameMap = lazy(async () => (await import('./push/names.ts')).parseNameMap)
/** Opens a private key. */
export const readPrivateKey = lazy(async () => (await import('./trust/keys.ts')).readPrivateKey)
/** Reads a public key from a file. */
export const readPublicKey = lazy(async () => (await import('./trust/keys.ts')).readPublicKey)
/** Parses a public key. */
export const parsePublicKey = lazy(async () => (await import('./trust/keys.ts')).parsePublicKey)
/** Makes a key pair. */
export const writeKeyPair = lazy(async () => (await import('./trust/key-files.ts')).writeKeyPair)
/** Signs bytes, and checks the signature. */
export const signBytes = lazy(async () => (await import('./trust/signature.ts')).signBytes)
/** Opens a key in an HSM or a KMS that a program signs with. */
export const openSignCommand = lazy(async () => (await import('./trust/sign-command.ts')).openSignCommand)
/** Reads a trusted root, `trusted_root.json`. */
export const readTrustedRoot = lazy(
  async () => (await import('./trust/identity/trusted-root.ts')).readTrustedRoot,
)
/** Reads a policy file. */
export const readPolicy = lazy(async () => (await import('./trust/policy/read.ts')).readPolicy)
/** Checks whether a registry accepts a user name and a password. */
export const checkLogin = lazy(async () => (await import('./registry/with-client.ts')).checkLogin)
/** Finds where credentials for a registry are stored. */
export const findStorage = lazy(
  async () => (await import('./registry/auth/credential-storage.ts')).findStorage,
)
/** Stores credentials for a registry. */
export const storeCredentials = lazy(
  async () => (await import('./registry/auth/credential-storage.ts')).storeCredentials,
)
/** Removes credentials for a registry. */
export const removeCredentials = lazy(
  async () => (await import('./registry/auth/credential-storage.ts')).removeCredentials,
)
/** Finds the credentials for a registry. */
export const findCredentials = lazy(
  async () => (await import('./registry/auth/credential-storage.ts')).findCredentials,
)
