import {
  createHash,
  generateKeyPairSync,
  randomInt,
  sign,
  X509Certificate,
  type KeyObject,
} from 'node:crypto'
import { bundleToJSON, toDSSEBundle, toMessageSignatureBundle, type Bundle } from '@sigstore/bundle'
import { initializeTLog, initializeTSA } from '@sigstore/mock'
import { makeAuthority, TIME_STAMPING, type KeyPair, type LeafOptions } from './certificates.ts'
import { trustedRootOf } from './trusted-root.ts'

const REKOR = 'https://rekor.test.internal'
const MINUTE = 60_000

export interface SignOptions {
  /** The certificate's subject alternative name, a URI. */
  identity?: string
  issuer?: string
  /** Without an entry in the log. */
  withoutLog?: boolean
  /** With a timestamp of the authority besides the log's. */
  withTimestamp?: boolean
  /** Without the log's own promise, so that its time says nothing. */
  withoutPromise?: boolean
  /** What else is in the certificate, and what is not, against Fulcio's custom. */
  certificate?: Partial<LeafOptions>
  /** When log and timestamp authority were asked; minutes after the certificate became valid, 0 unless given. */
  minutesLater?: number
  /** The log's entry is of this artifact instead. */
  entryOf?: Uint8Array
  /** The log's entry names another certificate of the same key. */
  entryNames?: Partial<LeafOptions>
  /** An entry as Rekor v2 makes it, which has neither promise nor time. */
  rekorV2?: boolean
  /** Media type `…;version=0.1`, with a chain of certificates in place of the one. */
  v01?: boolean
  /** The last word on what is written. */
  change?: (bundle: Bundle) => void
}

/**
 * A Sigstore instance in memory: certificate authority, certificate log, transparency log and timestamp authority,
 * with the trusted root that says so. Certificates are valid for ten minutes from `clock`.
 */
export interface Sigstore {
  /** trusted_root.json */
  trustedRoot: Buffer
  /** The certificate authority's own certificate, DER. */
  certificateAuthority: Buffer
  /** A signature over bytes: a Sigstore bundle v0.3 as JSON. */
  sign(payload: Uint8Array, options?: SignOptions): Promise<Buffer>
  /** An envelope around `statement`, as `cosign sign` and `cosign attest` make them. */
  attest(statement: object, options?: SignOptions): Promise<Buffer>
  /** What cosign puts on the layer of a `.sig` manifest that is signed without a key. */
  signLayer(
    payload: Uint8Array,
    options?: SignOptions,
  ): Promise<{ signature: string; certificate: string; chain: string; bundle: string }>
}

/** An entry as Rekor v1 answers with it. */
interface Entered {
  body: string
  integratedTime: number
  logID: string
  logIndex: number
  verification: {
    signedEntryTimestamp: string
    inclusionProof: {
      logIndex: number
      treeSize: number
      rootHash: string
      checkpoint: string
    }
  }
}

export const IDENTITY = 'https://ci.example.internal/release'
export const ISSUER = 'https://accounts.example.internal'

/** When instances are asked, unless a test says otherwise: no test depends on the time of day, or on a second's end. */
const CLOCK = new Date('2026-06-01T12:00:00Z')

export async function makeSigstore(clock = CLOCK): Promise<Sigstore> {
  // The mock writes milliseconds in a form that is wrong where they end in zero.
  const time = new Date(clock.getTime() - (clock.getTime() % 1000) + 123)
  const [caKeys, ctKeys, logKeys, tsaKeys] = [pair('P-384'), pair(), pair(), pair('P-384')]
  const ca = makeAuthority(caKeys, ctKeys, 'sigstore.test')
  const tsa = await initializeTSA(tsaKeys, time)
  const timeAuthority = makeAuthority(pair('P-384'), ctKeys, 'timestamps.test')
  const timeCertificate = timeAuthority.issue({
    publicKey: tsaKeys.publicKey,
    names: [{ uri: 'https://tsa.test.internal' }],
    notBefore: new Date(0),
    notAfter: new Date('2100-01-01'),
    uses: [TIME_STAMPING],
    areUsesCritical: true,
    withoutSct: true,
  })
  // The mock's own are valid from the present second on, and a timestamp may be of the one before.
  exchangeCertificate(tsa, timeCertificate)
  // The same authority, asked later: it has the certificates of the first.
  const tsaAt = async (minutes: number): Promise<typeof tsa> =>
    minutes === 0
      ? tsa
      : Object.assign(Object.create(tsa) as typeof tsa, { getCurrentTime: () => later(minutes) })
  const later = (minutes: number): Date => new Date(time.getTime() + minutes * MINUTE)
  const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' })

  const bytesOf = (view: ArrayBufferView): Buffer =>
    Buffer.from(view.buffer, view.byteOffset, view.byteLength)
  const trustedRoot = Buffer.from(
    `${JSON.stringify(
      trustedRootOf({
        log: { baseUrl: REKOR, publicKey: spki(logKeys.publicKey) },
        ctLog: { baseUrl: 'https://ct.test.internal', publicKey: spki(ctKeys.publicKey) },
        ca: { uri: 'https://fulcio.test.internal', certificates: [ca.root] },
        tsa: { uri: 'https://tsa.test.internal', certificates: [timeCertificate, timeAuthority.root] },
      }),
      undefined,
      2,
    )}\n`,
  )

  const certify = (
    { identity = IDENTITY, issuer = ISSUER, certificate }: SignOptions,
    keys = pair(),
  ): { der: Buffer; keys: KeyPair } => {
    const der = ca.issue({
      publicKey: keys.publicKey,
      names: [{ uri: identity }],
      issuer,
      notBefore: time,
      notAfter: later(10),
      ...certificate,
    })
    return { der, keys }
  }

  const enter = async (entry: object, { minutesLater = 0 }: SignOptions): Promise<Entered> => {
    const log = await initializeTLog(REKOR, logKeys, later(minutesLater))
    const [found] = Object.values((await log.log(entry)) as Record<string, Entered>)
    if (!found) throw new Error('the log gave no entry')
    return found
  }

  const complete = async (
    bundle: Bundle,
    signature: Buffer,
    entered: Entered | undefined,
    kind: 'hashedrekord' | 'dsse',
    options: SignOptions,
  ): Promise<Buffer> => {
    if (entered) {
      const isV2 = options.rekorV2 === true
      bundle.verificationMaterial.tlogEntries = [
        {
          logIndex: String(isV2 ? entered.verification.inclusionProof.logIndex : entered.logIndex),
          logId: { keyId: Buffer.from(entered.logID, 'hex') },
          kindVersion: { kind, version: isV2 ? '0.0.2' : '0.0.1' },
          integratedTime: isV2 ? '0' : String(entered.integratedTime),
          inclusionPromise:
            options.withoutPromise || isV2
              ? undefined
              : { signedEntryTimestamp: Buffer.from(entered.verification.signedEntryTimestamp, 'base64') },
          inclusionProof: {
            logIndex: String(entered.verification.inclusionProof.logIndex),
            treeSize: String(entered.verification.inclusionProof.treeSize),
            rootHash: Buffer.from(entered.verification.inclusionProof.rootHash, 'hex'),
            hashes: [],
            checkpoint: { envelope: entered.verification.inclusionProof.checkpoint },
          },
          canonicalizedBody: Buffer.from(entered.body, 'base64'),
        },
      ]
    }
    if (options.withTimestamp) {
      const authorityThen = await tsaAt(options.minutesLater ?? 0)
      const signedTimestamp = await authorityThen.timestamp({
        artifactHash: sha256(signature),
        hashAlgorithmOID: '2.16.840.1.101.3.4.2.1',
        nonce: randomInt(2 ** 31),
        policyOID: '1.3.6.1.4.1.57264.2',
        certReq: false,
      })
      bundle.verificationMaterial.timestampVerificationData = {
        rfc3161Timestamps: [{ signedTimestamp: bytesOf(signedTimestamp) }],
      }
    }
    if (options.v01) asV01(bundle)
    options.change?.(bundle)
    return Buffer.from(`${JSON.stringify(bundleToJSON(bundle))}\n`)
  }

  const signMessage = async (payload: Uint8Array, options: SignOptions) => {
    const { der: certificate, keys } = certify(options)
    const signature = sign('sha256', payload, keys.privateKey)
    const pem = new X509Certificate(certificate).toString()
    const noted = options.entryNames
      ? certify({ ...options, certificate: { ...options.certificate, ...options.entryNames } }, keys).der
      : certificate
    const artifact = options.entryOf ?? payload
    const notedSignature = options.entryOf ? sign('sha256', artifact, keys.privateKey) : signature
    const entry = options.rekorV2 ? entryV2 : entryV1
    const entered = options.withoutLog
      ? undefined
      : await enter(entry(sha256(artifact), notedSignature, noted), options)
    return { certificate, pem, signature, entered }
  }

  return {
    trustedRoot,
    certificateAuthority: ca.root,
    sign: async (payload, options = {}) => {
      const { certificate, signature, entered } = await signMessage(payload, options)
      const bundle = toMessageSignatureBundle({ digest: sha256(payload), signature, certificate })
      return complete(bundle, signature, entered, 'hashedrekord', options)
    },
    attest: async (statement, options = {}) => {
      const { der: certificate, keys } = certify(options)
      const payload = Buffer.from(JSON.stringify(statement))
      const payloadType = 'application/vnd.in-toto+json'
      const signature = sign('sha256', preAuthEncoding(payloadType, payload), keys.privateKey)
      const entered = options.withoutLog
        ? undefined
        : await enter(
            {
              apiVersion: '0.0.1',
              kind: 'dsse',
              spec: {
                signatures: [
                  {
                    signature: signature.toString('base64'),
                    verifier: base64(new X509Certificate(certificate).toString()),
                  },
                ],
                envelopeHash: { algorithm: 'sha256', value: sha256(payload).toString('hex') },
                payloadHash: { algorithm: 'sha256', value: sha256(payload).toString('hex') },
              },
            },
            options,
          )
      const bundle = toDSSEBundle({ artifact: payload, artifactType: payloadType, signature, certificate })
      return complete(bundle, signature, entered, 'dsse', options)
    },
    signLayer: async (payload, options = {}) => {
      const { pem, signature, entered } = await signMessage(payload, options)
      if (!entered) throw new Error('a layer needs its log entry')
      return {
        signature: signature.toString('base64'),
        certificate: pem,
        chain: new X509Certificate(ca.root).toString(),
        bundle: JSON.stringify({
          SignedEntryTimestamp: entered.verification.signedEntryTimestamp,
          Payload: {
            body: entered.body,
            integratedTime: entered.integratedTime,
            logIndex: entered.logIndex,
            logID: entered.logID,
          },
        }),
      }
    },
  }
}

/** Has the mock's timestamp authority name this certificate as its own. */
function exchangeCertificate(tsa: object, der: Buffer): void {
  const authority = tsa as { intCert: { constructor: { fromBER(bytes: Uint8Array): never } } }
  authority.intCert = authority.intCert.constructor.fromBER(der)
}

/** A `hashedrekord` as Rekor v1 notes it (sigstore/rekor, pkg/types/hashedrekord). */
function entryV1(digest: Buffer, signature: Buffer, certificate: Buffer): object {
  const pem = new X509Certificate(certificate).toString()
  return {
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: { hash: { algorithm: 'sha256', value: digest.toString('hex') } },
      signature: { content: signature.toString('base64'), publicKey: { content: base64(pem) } },
    },
  }
}

/** The same as Rekor v2 notes it (sigstore/rekor-tiles). */
function entryV2(digest: Buffer, signature: Buffer, certificate: Buffer): object {
  return {
    apiVersion: '0.0.2',
    kind: 'hashedrekord',
    spec: {
      hashedRekordV002: {
        data: { algorithm: 'SHA2_256', digest: digest.toString('base64') },
        signature: {
          content: signature.toString('base64'),
          verifier: {
            keyDetails: 'PKIX_ECDSA_P256_SHA_256',
            x509Certificate: { rawBytes: certificate.toString('base64') },
          },
        },
      },
    },
  }
}

function asV01(bundle: Bundle): void {
  const { content } = bundle.verificationMaterial
  if (content.$case !== 'certificate') return
  bundle.mediaType = 'application/vnd.dev.sigstore.bundle+json;version=0.1'
  bundle.verificationMaterial.content = {
    $case: 'x509CertificateChain',
    x509CertificateChain: { certificates: [content.certificate] },
  }
}

function pair(namedCurve = 'P-256'): KeyPair {
  return generateKeyPairSync('ec', { namedCurve })
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

/** DSSE's encoding of what is signed (secure-systems-lab/dsse, protocol.md). */
function preAuthEncoding(type: string, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `), payload])
}
