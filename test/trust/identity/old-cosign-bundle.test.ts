import { beforeAll, describe, expect, test } from 'vitest'
import { parseDetachedSignature } from '../../../src/trust/detached.ts'
import {
  readCertificateBundle,
  verifyCertificateBundle,
} from '../../../src/trust/identity/certificate-bundle.ts'
import { bundleOfCosignParts } from '../../../src/trust/identity/old-cosign-bundle.ts'
import { parseTrustedRoot, type Root } from '../../../src/trust/identity/trusted-root.ts'
import { errorOf } from '../helpers.ts'
import { IDENTITY, makeSigstore, type Sigstore } from '../sigstore.ts'

const PAYLOAD = Buffer.from('what is signed\n')

type Layer = Awaited<ReturnType<Sigstore['signLayer']>>
interface Log {
  SignedEntryTimestamp: unknown
  Payload: Record<string, unknown>
}

let layer: Layer
let root: Root

beforeAll(async () => {
  const sigstore = await makeSigstore()
  root = parseTrustedRoot(sigstore.trustedRoot, 'trusted_root.json')
  layer = await sigstore.signLayer(PAYLOAD)
})

/** As `cosign sign-blob --bundle` of cosign 2 wrote it. */
function oldBundle(change: Record<string, unknown> = {}): Buffer {
  const { signature, certificate, bundle } = layer
  const cert = Buffer.from(certificate).toString('base64')
  return Buffer.from(
    JSON.stringify({
      base64Signature: signature,
      cert,
      rekorBundle: JSON.parse(bundle) as unknown,
      ...change,
    }),
  )
}

function reasonOf(json: Uint8Array | undefined): string {
  const read = readCertificateBundle(json ?? Buffer.alloc(0))
  const verdict = read.ok ? verifyCertificateBundle(read, PAYLOAD, root) : read
  return verdict.ok ? `by ${verdict.by.identity}` : verdict.reason
}

test('cosign 2’s bundle of a signature by a certificate becomes a Sigstore bundle', () => {
  const { bundleJson } = parseDetachedSignature(oldBundle(), 'SHA256SUMS.bundle')
  expect(reasonOf(bundleJson)).toBe(`by ${IDENTITY}`)
  const plain = parseDetachedSignature(oldBundle({ cert: layer.certificate }), 'SHA256SUMS.bundle')
  expect(reasonOf(plain.bundleJson)).toBe(`by ${IDENTITY}`)
})

test('with a public key in the place of the certificate it is a signature by a key', () => {
  const pem = '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'
  const { der } = parseDetachedSignature(oldBundle({ cert: Buffer.from(pem).toString('base64') }), 'x')
  expect(der?.toString('base64')).toBe(layer.signature)
})

test('what cosign puts on a layer becomes a Sigstore bundle', () => {
  const bundle = bundleOfCosignParts(
    {
      signature: Buffer.from(layer.signature, 'base64'),
      certificatePem: layer.certificate,
      rekorBundle: JSON.parse(layer.bundle) as unknown,
    },
    'layer',
  )
  const verdict = verifyCertificateBundle({ ok: true, bundle, content: 'message' }, PAYLOAD, root)
  expect(verdict).toMatchObject({ ok: true, by: { identity: IDENTITY } })
})

describe('is refused', () => {
  test('without its log entry', async () => {
    const error = await errorOf(() => parseDetachedSignature(oldBundle({ rekorBundle: null }), 'x.bundle'))
    expect(error.message).toMatch(
      /^x\.bundle: it contains a signature with a certificate, but not the log entry/,
    )
  })

  test.each<[string, (log: Log) => unknown]>([
    ['without a promise', ({ Payload }) => ({ Payload })],
    ['with a promise that is not base64', (log) => ({ ...log, SignedEntryTimestamp: '?' })],
    ['with a time in a text', (log) => ({ ...log, Payload: { ...log.Payload, integratedTime: '1' } })],
    ['with a place before the first', (log) => ({ ...log, Payload: { ...log.Payload, logIndex: -1 } })],
    ['with a log that is no hash', (log) => ({ ...log, Payload: { ...log.Payload, logID: 'AB' } })],
    ['with a body that is no JSON', (log) => ({ ...log, Payload: { ...log.Payload, body: 'AAAA' } })],
    [
      'with a body of another kind',
      (log) => ({ ...log, Payload: { ...log.Payload, body: base64({ kind: 'rekord' }) } }),
    ],
    ['with members in other letters', (log) => ({ ...log, payload: log.Payload })],
    ['with members in other letters inside', (log) => ({ ...log, Payload: { ...log.Payload, LogID: 'x' } })],
    ['of a list', () => []],
  ])('an entry %s', async (_, change) => {
    const rekorBundle = change(JSON.parse(layer.bundle) as Log)
    const error = await errorOf(() => parseDetachedSignature(oldBundle({ rekorBundle }), 'x.bundle'))
    expect(error).toMatchObject({ code: 'INVALID_CONTENT' })
    expect(error.message).toMatch(/^x\.bundle: /)
  })

  test('with several certificates, or none that can be read', async () => {
    for (const cert of [layer.certificate.repeat(2), 'AAAA', layer.certificate.slice(0, 200)]) {
      const error = await errorOf(() => parseDetachedSignature(oldBundle({ cert }), 'x.bundle'))
      expect(error.message).toBe('x.bundle: its certificate is not a single PEM certificate')
    }
  })

  test('[attack: log-entry-of-another-artifact] when its entry is of another signature', async () => {
    const other = await (await makeSigstore()).signLayer(PAYLOAD)
    const { bundleJson } = parseDetachedSignature(
      oldBundle({ rekorBundle: JSON.parse(other.bundle) as unknown }),
      'x',
    )
    expect(reasonOf(bundleJson)).toMatch(/^the log that it names/)
    const again = parseDetachedSignature(oldBundle({ base64Signature: other.signature }), 'x')
    expect(reasonOf(again.bundleJson)).toBe('its log entry is for another signature or another artifact')
  })
})

function base64(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64')
}
