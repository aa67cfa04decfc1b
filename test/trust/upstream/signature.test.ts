import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import seeds from '@sigstore/tuf/seeds.json' with { type: 'json' }
import { SIMPLE_SIGNING } from '../../../src/oci/cosign.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { parseManifest } from '../../../src/oci/manifest.ts'
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { identityFrom } from '../../../src/trust/identity/identity.ts'
import { parseTrustedRoot, type Root } from '../../../src/trust/identity/trusted-root.ts'
import { signaturesIn } from '../../../src/trust/upstream/holder.ts'
import { presetRules } from '../../../src/trust/upstream/policy-file.ts'
import {
  verifyImageSignature,
  type Demand,
  type OfferedSignature,
} from '../../../src/trust/upstream/signature.ts'
import { parseUpstreamSigning } from '../../../src/trust/upstream/simple-signing.ts'
import { sigManifest } from '../../upstream/world.ts'
import { IDENTITY, ISSUER, makeSigstore, type Sigstore } from '../sigstore.ts'
import genuine from './kubernetes-signature.json' with { type: 'json' }
import { certifiedBundle, certifiedLayer, makeKeyUpstream, payloadOf, statementOf } from './signing.ts'

const SUBJECT = digestOf('the image')
const OTHER = digestOf('another image')
const IMAGE = parseReference('registry.example/team/app:1')
const upstream = makeKeyUpstream()

let sigstore: Sigstore
let root: Root
beforeAll(async () => {
  sigstore = await makeSigstore()
  root = parseTrustedRoot(sigstore.trustedRoot, 'trusted_root.json')
})

function byKey(more: Partial<Demand> = {}): Demand {
  const by = { keys: [upstream.key], identities: [] }
  return { subject: SUBJECT, image: IMAGE, by, dockerReference: 'ignore', root: undefined, ...more }
}

function byIdentity(more: Partial<Demand> = {}): Demand {
  const by = { keys: [], identities: [identityFrom({ identity: IDENTITY, issuer: ISSUER })] }
  return { subject: SUBJECT, image: IMAGE, by, dockerReference: 'ignore', root, ...more }
}

function reasonOf(offered: OfferedSignature, demand: Demand): string {
  const verdict = verifyImageSignature(offered, demand)
  return verdict.ok ? 'it is good' : verdict.reason
}

describe('a genuine signature of Kubernetes', () => {
  const [seed] = Object.values(seeds as unknown as Record<string, { targets: Record<string, string> }>)
  const production = parseTrustedRoot(
    Buffer.from(seed?.targets['trusted_root.json'] ?? '', 'base64'),
    'trusted_root.json',
  )
  const [rule] = presetRules('kubernetes')
  const offered = {
    form: 'simple-signing',
    bytes: Buffer.from(genuine.payload),
    annotations: genuine.annotations,
  } as const
  const demand = (more: Partial<Demand> = {}): Demand => {
    if (rule?.demand.kind !== 'signature') throw new Error('the preset verifies nothing')
    const { by, dockerReference } = rule.demand
    const image = parseReference(genuine.source)
    return { subject: genuine.digest as Digest, image, by, dockerReference, root: production, ...more }
  }

  test('is good by the preset and the root of the public instance, offline', () => {
    expect(rule?.matches(parseReference(genuine.source))).toBe(true)
    expect(verifyImageSignature(offered, demand())).toMatchObject({
      ok: true,
      by: {
        identity: 'krel-trust@k8s-releng-prod.iam.gserviceaccount.com',
        issuer: 'https://accounts.google.com',
        logEntries: [{ logIndex: '28719030' }],
        times: [Date.parse('2023-07-25T17:04:44Z')],
      },
    })
  })

  test('is of that image alone, and not by another root', () => {
    expect(reasonOf(offered, demand({ subject: SUBJECT }))).toMatch(
      /^it is a signature of another image: sha256:f34016d3/,
    )
    expect(reasonOf(offered, demand({ root }))).toMatch(/not in the trusted root/)
    const bytes = Buffer.from(genuine.payload.replace('kpromo-v4.0.3', 'kpromo-v4.0.4'))
    expect(reasonOf({ ...offered, bytes }, demand())).toMatch(/over other content/)
  })
})

describe("an image's signature", () => {
  test.each(['key', 'identity'] as const)('by a %s is good in both forms', async (kind) => {
    const offered =
      kind === 'key'
        ? [upstream.layer(payloadOf(SUBJECT)), upstream.envelope(statementOf(SUBJECT))]
        : [
            await certifiedLayer(sigstore, payloadOf(SUBJECT)),
            await certifiedBundle(sigstore, statementOf(SUBJECT)),
          ]
    for (const one of offered) {
      const verdict = verifyImageSignature(one, kind === 'key' ? byKey() : byIdentity())
      expect(verdict).toMatchObject({ ok: true, by: { kind } })
    }
  })

  test.each([
    'application/vnd.dev.sigstore.bundle+json;version=0.1',
    'application/vnd.dev.sigstore.bundle+json;version=0.2',
    'application/vnd.dev.sigstore.bundle+json;version=0.3',
    'application/vnd.dev.sigstore.bundle.v0.3+json',
  ])('is found and good in a bundle of type %s', (mediaType) => {
    const empty = JSON.parse(Buffer.from(sigManifest([]).bytes).toString()) as object
    const holder = JSON.stringify({ ...empty, layers: [{ mediaType, digest: OTHER, size: 1 }] })
    const found = signaturesIn(parseManifest(Buffer.from(holder), 'it'), SUBJECT, true)
    expect(found).toMatchObject({ ok: true, layers: [{ form: 'sigstore-bundle' }] })
    const offered = upstream.envelope(statementOf(SUBJECT))
    const bundle = JSON.parse(Buffer.from(offered.bytes).toString()) as object
    const bytes = Buffer.from(JSON.stringify({ ...bundle, mediaType }))
    expect(verifyImageSignature({ ...offered, bytes }, byKey())).toMatchObject({ ok: true })
  })

  test('of another image is none of this one', async () => {
    for (const [offered, demand] of [
      [upstream.layer(payloadOf(OTHER)), byKey()],
      [upstream.envelope(statementOf(OTHER)), byKey()],
      [await certifiedLayer(sigstore, payloadOf(OTHER)), byIdentity()],
      [await certifiedBundle(sigstore, statementOf(OTHER)), byIdentity()],
    ] as const) {
      expect(reasonOf(offered, demand)).toBe(`it is a signature of another image: ${OTHER}`)
    }
  })

  test('[attack: attestation-as-signature] an attestation by the right signer is no signature', async () => {
    for (const predicate of ['https://slsa.dev/provenance/v1', 'https://sigstore.dev/cosign/sign/v1 ', '']) {
      const statement = statementOf(SUBJECT, predicate)
      expect(reasonOf(upstream.envelope(statement), byKey())).toContain('it is an attestation')
      expect(reasonOf(await certifiedBundle(sigstore, statement), byIdentity())).toContain(
        'it is an attestation',
      )
    }
  })

  test('a signature over bytes says nothing about an image', async () => {
    const bytes = await sigstore.sign(payloadOf(SUBJECT))
    expect(reasonOf({ form: 'sigstore-bundle', bytes }, byIdentity())).toContain(
      'says nothing about an image',
    )
  })

  test('by somebody else is refused, whatever it says of itself', async () => {
    const other = makeKeyUpstream()
    const stranger = { identity: 'https://ci.example.internal/other' }
    expect(reasonOf(other.layer(payloadOf(SUBJECT)), byKey())).toContain('another key')
    expect(reasonOf(other.envelope(statementOf(SUBJECT)), byKey())).toContain('another key')
    expect(reasonOf(await certifiedLayer(sigstore, payloadOf(SUBJECT), stranger), byIdentity())).toContain(
      'it was made by',
    )
    expect(reasonOf(await certifiedBundle(sigstore, statementOf(SUBJECT), stranger), byIdentity())).toContain(
      'it was made by',
    )
  })

  test('by a key is none by a certificate, and the other way round', async () => {
    expect(reasonOf(upstream.layer(payloadOf(SUBJECT)), byIdentity())).toContain('a certificate is required')
    expect(reasonOf(upstream.envelope(statementOf(SUBJECT)), byIdentity())).toContain(
      'a signature with a certificate is required',
    )
    expect(reasonOf(await certifiedLayer(sigstore, payloadOf(SUBJECT)), byKey())).toContain('another key')
    expect(reasonOf(await certifiedBundle(sigstore, statementOf(SUBJECT)), byKey())).toContain(
      'a signature by a key is required',
    )
  })

  test('a layer without its log entry is no good, nor one with the entry of another', async () => {
    const layer = await certifiedLayer(sigstore, payloadOf(SUBJECT))
    const other = await certifiedLayer(sigstore, payloadOf(OTHER))
    const without = { ...layer.annotations }
    delete without['dev.sigstore.cosign/bundle']
    expect(reasonOf({ ...layer, annotations: without }, byIdentity())).toContain('it has no entry')
    const swapped = {
      ...layer.annotations,
      'dev.sigstore.cosign/bundle': other.annotations?.['dev.sigstore.cosign/bundle'] ?? '',
    }
    expect(reasonOf({ ...layer, annotations: swapped }, byIdentity())).not.toBe('it is good')
  })

  test('the name that it holds is compared where that is asked for', () => {
    const named = (name: string): OfferedSignature => upstream.layer(payloadOf(SUBJECT, name))
    const matching = byKey({ dockerReference: 'match' })
    expect(reasonOf(named('registry.example/team/app'), matching)).toBe('it is good')
    expect(reasonOf(named('registry.example/team/app:1'), matching)).toBe('it is good')
    expect(reasonOf(named('registry.example/team/app:2'), matching)).toContain('made for the name')
    expect(reasonOf(named('registry.example/team/other'), matching)).toContain('made for the name')
    expect(reasonOf(named(''), matching)).toContain('does not name the image')
    expect(reasonOf(upstream.envelope(statementOf(SUBJECT)), matching)).toContain('does not name the image')
    expect(reasonOf(named('registry.example/team/other'), byKey())).toBe('it is good')
    const hub = { ...matching, image: parseReference('nginx:1.29') }
    expect(reasonOf(named('index.docker.io/library/nginx'), hub)).toBe('it is good')
  })
})

test('a manifest of ten thousand signatures is none that is looked at', () => {
  const document = parseManifest(
    Buffer.from(
      JSON.stringify({
        ...JSON.parse(Buffer.from(sigManifest([]).bytes).toString()),
        layers: Array.from({ length: 10_000 }, () => ({ mediaType: SIMPLE_SIGNING, digest: OTHER, size: 1 })),
      }),
    ),
    'many',
  )
  expect(signaturesIn(document, SUBJECT, true)).toEqual({
    ok: false,
    reason: 'it has 10000 signatures, but at most 256 are allowed',
  })
})

test('[attack: referrer-of-another-image] [attack: sig-tag-is-image] what holds signatures has to belong to the image', () => {
  const held = sigManifest([upstream.layer(payloadOf(SUBJECT))])
  const body = JSON.parse(Buffer.from(held.bytes).toString()) as object
  const referring = (digest: Digest) => ({ ...body, subject: { mediaType: OCI_MANIFEST, digest, size: 1 } })
  const read = (value: object) => parseManifest(Buffer.from(JSON.stringify(value)), 'it')
  expect(signaturesIn(read(body), SUBJECT, true)).toMatchObject({
    ok: true,
    layers: [{ form: 'simple-signing' }],
  })
  expect(signaturesIn(read(referring(SUBJECT)), SUBJECT, false)).toMatchObject({ ok: true })
  expect(signaturesIn(read(body), SUBJECT, false).ok).toBe(false)
  expect(signaturesIn(read(referring(OTHER)), SUBJECT, false).ok).toBe(false)
  expect(signaturesIn(read(referring(OTHER)), SUBJECT, true).ok).toBe(false)
  const image = read(body)
  expect(signaturesIn(image, image.digest, true).ok).toBe(false)
})

describe('what was signed', () => {
  const good = payloadOf(SUBJECT).toString()
  test.each([
    ['two critical keys', good.replace('"optional":null', `"critical":{}`), /occurs twice/],
    ['a key in other letters', good.replace('"optional"', '"Critical"'), /differs only in case/],
    ['an image in other letters', good.replace('"image":', '"Image":{},"image":'), /differs only in case/],
    ['something unknown that is critical', good.replace('"type":', '"expires":1,"type":'), /critical/],
    ['something behind it', `${good} {}`, /not JSON/],
    ['another type', good.replace('cosign container', 'atomic container'), /its type is not/],
    ['a digest of another kind', good.replace('sha256:', 'sha512:'), /SHA-256/],
    ['a list', '[]', /payload/],
    ['nothing', '', /not JSON/],
    ['too much', good.replace('null', `"${'x'.repeat(70_000)}"`), /64 KiB/],
  ])('with %s is refused, though it is signed', (_, text, reason) => {
    expect(reasonOf(upstream.layer(Buffer.from(text)), byKey())).toMatch(reason)
  })

  test('whatever is signed, reading it never throws', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          expect(parseUpstreamSigning(bytes).ok).toBe(false)
        },
      ),
      { numRuns: 200 },
    )
  })

  test('one changed byte anywhere in an envelope is noticed', () => {
    const bytes = Buffer.from(upstream.envelope(statementOf(SUBJECT)).bytes)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const altered = Buffer.from(bytes)
        altered[at] = (altered[at] ?? 0) ^ change
        const verdict = verifyImageSignature({ form: 'sigstore-bundle', bytes: altered }, byKey())
        // What names the key and the kind of bundle is outside of what is signed.
        const isOutside = altered
          .toString('latin1')
          .includes(bytes.toString('latin1').slice(bytes.indexOf('"payload"')))
        expect(verdict.ok && !isOutside).toBe(false)
      }),
      { numRuns: 300 },
    )
  })
})
