import { createHash, generateKeyPairSync, sign, X509Certificate, type KeyObject } from 'node:crypto'
import { bundleToJSON, toDSSEBundle, toMessageSignatureBundle, type Bundle } from '@sigstore/bundle'
import { initializeCA, initializeCTLog, initializeTLog, initializeTSA } from '@sigstore/mock'
import { HashAlgorithm, PublicKeyDetails, TrustedRoot } from '@sigstore/protobuf-specs'

const REKOR = 'https://rekor.test.internal'
const ISSUER_V2 = '1.3.6.1.4.1.57264.1.8'

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
}

/**
 * A Sigstore instance in memory: certificate authority, certificate log, transparency log and timestamp authority,
 * with the trusted root that says so. Certificates are valid for ten minutes from `clock`.
 */
export interface Sigstore {
  /** trusted_root.json */
  trustedRoot: Buffer
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

export async function makeSigstore(clock: Date = new Date()): Promise<Sigstore> {
  // The mock writes milliseconds in a form that is wrong where they end in zero.
  const time = new Date(clock.getTime() - (clock.getTime() % 1000) + 123)
  const [caKeys, ctKeys, logKeys, tsaKeys] = [pair('P-384'), pair(), pair(), pair('P-384')]
  const ctLog = await initializeCTLog(ctKeys, time)
  const ca = await initializeCA(caKeys, ctLog, time)
  const log = await initializeTLog(REKOR, logKeys, time)
  const tsa = await initializeTSA(tsaKeys, time)

  const validFor = { start: new Date(0), end: undefined }
  const logInstance = (baseUrl: string, publicKey: Buffer, keyId: Buffer) => ({
    baseUrl,
    hashAlgorithm: HashAlgorithm.SHA2_256,
    publicKey: { rawBytes: publicKey, keyDetails: PublicKeyDetails.PKIX_ECDSA_P256_SHA_256, validFor },
    logId: { keyId },
    checkpointKeyId: undefined,
    operator: '',
  })
  const authority = (uri: string, certificates: Uint8Array[]) => ({
    subject: { organization: 'sigstore.mock', commonName: 'sigstore' },
    uri,
    certChain: { certificates: certificates.map((each) => ({ rawBytes: Buffer.from(each) })) },
    validFor,
    operator: '',
  })
  const bytesOf = (view: ArrayBufferView): Buffer =>
    Buffer.from(view.buffer, view.byteOffset, view.byteLength)
  const trustedRoot = Buffer.from(
    `${JSON.stringify(
      TrustedRoot.toJSON({
        mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
        tlogs: [logInstance(REKOR, log.publicKey, sha256(log.publicKey))],
        certificateAuthorities: [authority('https://fulcio.test.internal', [bytesOf(ca.rootCertificate)])],
        ctlogs: [logInstance('https://ct.test.internal', ctLog.publicKey, bytesOf(ctLog.logID))],
        timestampAuthorities: [
          authority('https://tsa.test.internal', [bytesOf(tsa.intCertificate), bytesOf(tsa.rootCertificate)]),
        ],
      }),
      undefined,
      2,
    )}\n`,
  )

  const certify = async (options: SignOptions): Promise<{ der: Buffer; privateKey: KeyObject }> => {
    const { publicKey, privateKey } = pair()
    const der = await ca.issueCertificate({
      publicKey: publicKey.export({ type: 'spki', format: 'der' }),
      subjectAltName: options.identity ?? IDENTITY,
      extensions: [{ oid: ISSUER_V2, value: options.issuer ?? ISSUER }],
    })
    return { der: bytesOf(der), privateKey }
  }

  const enter = async (entry: object): Promise<Entered> => {
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
      bundle.verificationMaterial.tlogEntries = [
        {
          logIndex: String(entered.logIndex),
          logId: { keyId: Buffer.from(entered.logID, 'hex') },
          kindVersion: { kind, version: '0.0.1' },
          integratedTime: String(entered.integratedTime),
          inclusionPromise: options.withoutPromise
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
      const signedTimestamp = await tsa.timestamp({
        artifactHash: sha256(signature),
        hashAlgorithmOID: '2.16.840.1.101.3.4.2.1',
        nonce: 1,
        policyOID: '1.3.6.1.4.1.57264.2',
        certReq: false,
      })
      bundle.verificationMaterial.timestampVerificationData = {
        rfc3161Timestamps: [{ signedTimestamp: bytesOf(signedTimestamp) }],
      }
    }
    return Buffer.from(`${JSON.stringify(bundleToJSON(bundle))}\n`)
  }

  const signMessage = async (payload: Uint8Array, options: SignOptions) => {
    const { der: certificate, privateKey } = await certify(options)
    const signature = sign('sha256', payload, privateKey)
    const pem = new X509Certificate(certificate).toString()
    const entered = options.withoutLog
      ? undefined
      : await enter({
          apiVersion: '0.0.1',
          kind: 'hashedrekord',
          spec: {
            data: { hash: { algorithm: 'sha256', value: sha256(payload).toString('hex') } },
            signature: { content: signature.toString('base64'), publicKey: { content: base64(pem) } },
          },
        })
    return { certificate, pem, signature, entered }
  }

  return {
    trustedRoot,
    sign: async (payload, options = {}) => {
      const { certificate, signature, entered } = await signMessage(payload, options)
      const bundle = toMessageSignatureBundle({ digest: sha256(payload), signature, certificate })
      return complete(bundle, signature, entered, 'hashedrekord', options)
    },
    attest: async (statement, options = {}) => {
      const { der: certificate, privateKey } = await certify(options)
      const payload = Buffer.from(JSON.stringify(statement))
      const payloadType = 'application/vnd.in-toto+json'
      const signature = sign('sha256', preAuthEncoding(payloadType, payload), privateKey)
      const entered = options.withoutLog
        ? undefined
        : await enter({
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
          })
      const bundle = toDSSEBundle({ artifact: payload, artifactType: payloadType, signature, certificate })
      return complete(bundle, signature, entered, 'dsse', options)
    },
    signLayer: async (payload, options = {}) => {
      const { pem, signature, entered } = await signMessage(payload, options)
      if (!entered) throw new Error('a layer needs its log entry')
      return {
        signature: signature.toString('base64'),
        certificate: pem,
        chain: new X509Certificate(bytesOf(ca.rootCertificate)).toString(),
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

function pair(namedCurve = 'P-256'): { publicKey: KeyObject; privateKey: KeyObject } {
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
