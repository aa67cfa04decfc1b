import { X509Certificate } from 'node:crypto'
import type { TransparencyLogEntry } from '@sigstore/bundle'
import { HashAlgorithm, TransparencyLogEntry as EntryMessage } from '@sigstore/protobuf-specs'
import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { decodeBase64 } from '../pem.ts'
import { below, serviceName, type AskService, type ServiceAnswer } from './service.ts'

/** Maximum size of an entry with its proof, in bytes. */
const LIMIT = 256 * 1024
/** A log of version 2 answers once the entry is in a checkpoint (rekor-tiles, CLIENTS.md: at least 20 seconds). */
const PATIENCE_MS = 60_000

/** What is written to the log permanently. */
export interface ToLog {
  /** SHA-256 of what was signed. */
  digest: Buffer
  /** DER. */
  signature: Buffer
  /** DER. */
  certificate: Buffer
}

/**
 * Writes a signature to a transparency log.
 * @param version of the log's API.
 * @throws AirgapError `INVALID_CONTENT`, `CONTENT_MISMATCH`; those of {@link AskService}
 */
export function writeLogEntry(
  ask: AskService,
  { url, version }: { url: URL; version: 1 | 2 },
  signed: ToLog,
): Promise<TransparencyLogEntry> {
  return version === 1 ? writeToFirst(ask, url, signed) : writeToSecond(ask, url, signed)
}

const hex = v.pipe(v.string('hexadecimal digits are expected'), v.regex(/^(?:[0-9a-f]{2})+$/))
const base64 = v.pipe(
  v.string('base64 is expected'),
  v.check((text) => decodeBase64(text) !== undefined, 'it is not canonical base64'),
)
const count = v.pipe(v.number('a number is expected'), v.integer(), v.minValue(0))

const FirstEntry = v.object({
  body: base64,
  integratedTime: count,
  logID: hex,
  logIndex: count,
  verification: v.object({
    signedEntryTimestamp: v.optional(base64),
    inclusionProof: v.object({
      checkpoint: v.string('a checkpoint is expected'),
      hashes: v.array(hex),
      logIndex: count,
      rootHash: hex,
      treeSize: count,
    }),
  }),
})
const FirstAnswer = v.record(v.string(), FirstEntry)

/** Rekor's API of version 1: an entry of the kind hashedrekord 0.0.1. */
async function writeToFirst(ask: AskService, base: URL, signed: ToLog): Promise<TransparencyLogEntry> {
  const { digest, signature, certificate } = signed
  const pem = new X509Certificate(certificate).toString()
  const path = '/api/v1/log/entries'
  const about = { service: 'Rekor', answers: 'application/json', limit: LIMIT, headers: JSON_HEADERS }
  let answer = await ask({
    ...about,
    operation: 'write the entry of the log',
    method: 'POST',
    url: below(base, path),
    body: JSON.stringify({
      apiVersion: '0.0.1',
      kind: 'hashedrekord',
      spec: {
        data: { hash: { algorithm: 'sha256', value: digest.toString('hex') } },
        signature: {
          content: signature.toString('base64'),
          publicKey: { content: Buffer.from(pem).toString('base64') },
        },
      },
    }),
    mayAnswer: [CONFLICT],
  })
  // An earlier attempt that seemed to fail was successful.
  if (answer.status === CONFLICT) {
    const uuid = uuidIn(answer, base)
    const url = below(base, `${path}/${uuid}`)
    answer = await ask({ ...about, operation: 'read the entry of the log', method: 'GET', url })
  }
  const what = `the answer of ${serviceName('Rekor', base)}`
  const entries = Object.values(checkShape(FirstAnswer, parseStrictJson(answer.body, what), what))
  const [entry] = entries
  if (!entry || entries.length !== 1) {
    throw new AirgapError('INVALID_CONTENT', `it contains ${entries.length} entries instead of one`, {
      subject: what,
    })
  }
  return asMessage(entry, what)
}

const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json' }
const CONFLICT = 409

/** Only the last part of the Location is used, for a request to the same log. */
function uuidIn({ location = '' }: ServiceAnswer, base: URL): string {
  const uuid = /^[^?#]*\/([0-9a-f]{64}|[0-9a-f]{80})$/.exec(location)?.[1]
  if (uuid !== undefined) return uuid
  throw new AirgapError(
    'REGISTRY',
    `cannot write the entry of the log: ${serviceName('Rekor', base)} already has it (409), but does not say where`,
    { hint: 'Run the same command again: it makes another signature.' },
  )
}

function asMessage(entry: v.InferOutput<typeof FirstEntry>, what: string): TransparencyLogEntry {
  const { body, logID, logIndex, integratedTime, verification } = entry
  const { inclusionProof: proof, signedEntryTimestamp: promise } = verification
  const canonicalizedBody = Buffer.from(body, 'base64')
  const { kind, apiVersion: version } = checkShape(
    v.object({ kind: v.string(), apiVersion: v.string() }),
    parseStrictJson(canonicalizedBody, what),
    what,
  )
  return {
    logIndex: String(logIndex),
    logId: { keyId: Buffer.from(logID, 'hex') },
    kindVersion: { kind, version },
    integratedTime: String(integratedTime),
    inclusionPromise:
      promise === undefined ? undefined : { signedEntryTimestamp: Buffer.from(promise, 'base64') },
    inclusionProof: {
      logIndex: String(proof.logIndex),
      rootHash: Buffer.from(proof.rootHash, 'hex'),
      treeSize: String(proof.treeSize),
      hashes: proof.hashes.map((hash) => Buffer.from(hash, 'hex')),
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody,
  }
}

const SecondAnswer = v.object({
  // Missing for the first entry, because protobuf omits zeros.
  logIndex: v.optional(v.pipe(v.string('digits are expected'), v.regex(/^[0-9]{1,19}$/))),
  logId: v.object({ keyId: base64 }),
  kindVersion: v.object({ kind: v.string(), version: v.string() }),
  inclusionProof: v.looseObject({ checkpoint: v.object({ envelope: v.string() }) }),
  canonicalizedBody: base64,
})

/** Rekor's API of version 2 (rekor-tiles): hashedrekord 0.0.2. The answer is the entry in the form for bundles. */
async function writeToSecond(ask: AskService, base: URL, signed: ToLog): Promise<TransparencyLogEntry> {
  const { digest, signature, certificate } = signed
  const { body } = await ask({
    service: 'Rekor',
    operation: 'write the entry of the log',
    method: 'POST',
    url: below(base, '/api/v2/log/entries'),
    headers: JSON_HEADERS,
    body: JSON.stringify({
      hashedRekordRequestV002: {
        digest: digest.toString('base64'),
        signature: {
          content: signature.toString('base64'),
          verifier: {
            x509Certificate: { rawBytes: certificate.toString('base64') },
            keyDetails: 'PKIX_ECDSA_P256_SHA_256',
          },
        },
      },
    }),
    answers: 'application/json',
    limit: LIMIT,
    patienceMs: PATIENCE_MS,
  })
  const what = `the answer of ${serviceName('Rekor', base)}`
  const value = parseStrictJson(body, what)
  checkShape(SecondAnswer, value, what)
  try {
    const { logId, kindVersion, ...entry } = EntryMessage.fromJSON(value)
    if (logId && kindVersion) return { ...entry, logId, kindVersion }
  } catch (error) {
    throw new AirgapError('INVALID_CONTENT', `it is no entry of a log`, { subject: what, cause: error })
  }
  throw new AirgapError('INVALID_CONTENT', `it is no entry of a log`, { subject: what })
}

const FirstBody = v.object({
  kind: v.literal('hashedrekord'),
  apiVersion: v.literal('0.0.1'),
  spec: v.object({
    data: v.object({ hash: v.object({ algorithm: v.literal('sha256'), value: hex }) }),
    signature: v.object({ content: base64, publicKey: v.object({ content: base64 }) }),
  }),
})

/**
 * Requires that an entry is for this signature.
 * @throws AirgapError `CONTENT_MISMATCH`
 */
export function checkNewEntry(entry: TransparencyLogEntry, signed: ToLog, log: URL): void {
  const body = parseStrictJson(entry.canonicalizedBody, `the entry of ${serviceName('Rekor', log)}`)
  if (entry.kindVersion.version === '0.0.2' ? isSecond(body, signed) : isFirst(body, signed)) return
  throw new AirgapError(
    'CONTENT_MISMATCH',
    `${serviceName('Rekor', log)} returned an entry that is not for this signature`,
  )
}

function isFirst(body: unknown, { digest, signature, certificate }: ToLog): boolean {
  const read = v.safeParse(FirstBody, body)
  if (!read.success) return false
  const { data, signature: found } = read.output.spec
  const pem = Buffer.from(found.publicKey.content, 'base64').toString('latin1')
  return (
    data.hash.value === digest.toString('hex') &&
    found.content === signature.toString('base64') &&
    derOf(pem).equals(certificate)
  )
}

const SecondBody = v.object({
  kind: v.literal('hashedrekord'),
  apiVersion: v.literal('0.0.2'),
  spec: v.object({
    hashedRekordV002: v.object({
      data: v.object({ algorithm: v.literal(HashAlgorithm[HashAlgorithm.SHA2_256]), digest: base64 }),
      signature: v.object({
        content: base64,
        verifier: v.object({ x509Certificate: v.object({ rawBytes: base64 }) }),
      }),
    }),
  }),
})

function isSecond(body: unknown, { digest, signature, certificate }: ToLog): boolean {
  const read = v.safeParse(SecondBody, body)
  if (!read.success) return false
  const { data, signature: found } = read.output.spec.hashedRekordV002
  return (
    data.digest === digest.toString('base64') &&
    found.content === signature.toString('base64') &&
    found.verifier.x509Certificate.rawBytes === certificate.toString('base64')
  )
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]*-----|\s/g, ''), 'base64')
}
