import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  readCertificateBundle,
  verifyCertificateBundle,
} from '../../../src/trust/identity/certificate-bundle.ts'
import { parseTrustedRoot, type Root } from '../../../src/trust/identity/trusted-root.ts'
import { FULCIO_ISSUER, FULCIO_ISSUER_V1, utf8 } from '../certificates.ts'
import { fixture } from '../helpers.ts'
import { IDENTITY, ISSUER, makeSigstore, type SignOptions, type Sigstore } from '../sigstore.ts'

const PAYLOAD = Buffer.from('what is signed\n')
const OTHER = Buffer.from('something else\n')

let sigstore: Sigstore
let stranger: Sigstore
let root: Root

beforeAll(async () => {
  sigstore = await makeSigstore()
  stranger = await makeSigstore()
  root = parseTrustedRoot(sigstore.trustedRoot, 'trusted_root.json')
})

function check(
  json: Uint8Array,
  payload: Uint8Array = PAYLOAD,
  trusted = root,
): ReturnType<typeof verifyCertificateBundle> {
  const read = readCertificateBundle(json)
  return read.ok ? verifyCertificateBundle(read, payload, trusted) : read
}

function reasonOf(verdict: ReturnType<typeof verifyCertificateBundle>): string {
  return verdict.ok ? 'it is good' : verdict.reason
}

/** What stands in the JSON of a good signature, changed. */
async function changed(change: (json: Json) => unknown, options: SignOptions = {}): Promise<Buffer> {
  const json = JSON.parse((await sigstore.sign(PAYLOAD, options)).toString()) as Json
  return Buffer.from(JSON.stringify(change(json) ?? json))
}

interface Json {
  mediaType: unknown
  verificationMaterial: Record<string, unknown> & { tlogEntries: Record<string, unknown>[] }
  messageSignature: Record<string, unknown>
}

function firstEntry(json: Json): Record<string, unknown> {
  return json.verificationMaterial.tlogEntries[0] ?? {}
}

describe('a signature by a certificate', () => {
  test('says who has signed, when, and which log knows of it', async () => {
    const verdict = check(await sigstore.sign(PAYLOAD))
    expect(verdict).toMatchObject({
      ok: true,
      by: {
        kind: 'identity',
        identity: IDENTITY,
        issuer: ISSUER,
        logEntries: [{ logId: expect.stringMatching(/^[0-9a-f]{64}$/), logIndex: expect.any(String) }],
        root: { source: 'trusted_root.json', digest: root.digest },
      },
    })
    expect(verdict.ok && verdict.by.times).toHaveLength(1)
  })

  test('an envelope is verified with what it holds', async () => {
    const json = await sigstore.attest({ _type: 'https://in-toto.io/Statement/v1' })
    expect(check(json)).toMatchObject({ ok: true, by: { identity: IDENTITY } })
  })

  test.each<[string, SignOptions]>([
    ['as Sigstore bundle 0.1', { v01: true }],
    ['with a timestamp of the authority besides', { withTimestamp: true }],
    [
      'with the timestamp alone, where the log promises nothing',
      { withoutPromise: true, withTimestamp: true },
    ],
    ['with an entry of a log of the second kind', { rekorV2: true, withTimestamp: true }],
    ['by an e-mail address', { certificate: { names: [{ email: 'me@example.internal' }] } }],
    ['by a user name', { certificate: { names: [{ username: 'me!example.internal' }] } }],
    [
      'with the issuer in the old place alone',
      {
        certificate: {
          issuer: undefined,
          extensions: [{ oid: FULCIO_ISSUER_V1, value: Buffer.from(ISSUER) }],
        },
      },
    ],
  ])('%s', async (_, options) => {
    expect(reasonOf(check(await sigstore.sign(PAYLOAD, options)))).toBe('it is good')
  })

  test('states of an entry without a promise neither a time nor a place that nobody has signed', async () => {
    const json = await changed(
      (one) => {
        Object.assign(firstEntry(one), { logIndex: '4711', integratedTime: '1700000000' })
      },
      { withoutPromise: true, withTimestamp: true },
    )
    const verdict = check(json)
    expect(verdict).toMatchObject({ ok: true, by: { logEntries: [{ logIndex: '0' }] } })
    expect(verdict.ok && verdict.by.logEntries[0]?.integratedTime).toBeUndefined()
    expect(verdict.ok && verdict.by.times.map((time) => time > 1_750_000_000_000)).toEqual([true])
  })

  test('a proof that lacks its checkpoint is no hindrance beside a promise, as bundles of 2023 have it', async () => {
    const json = await changed(
      (one) => {
        delete (firstEntry(one)['inclusionProof'] as Record<string, unknown>)['checkpoint']
      },
      { v01: true },
    )
    expect(reasonOf(check(json))).toBe('it is good')
  })

  test('one of the public instance, of 2023, verifies with its root', async () => {
    const seeds = createRequire(import.meta.url).resolve('@sigstore/tuf/seeds.json')
    const { targets } = Object.values(JSON.parse(await readFile(seeds, 'utf8')) as Seeds)[0] ?? {}
    const trustedRoot = Buffer.from(targets?.['trusted_root.json'] ?? '', 'base64')
    const genuine = parseTrustedRoot(trustedRoot, 'public-good.json')
    const json = await fixture('public-good.sigstore.json')
    const payload = await fixture('public-good.txt')
    expect(check(json, payload, genuine)).toMatchObject({
      ok: true,
      by: {
        identity:
          'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main',
        issuer: 'https://token.actions.githubusercontent.com',
        times: [Date.parse('2023-06-15T18:21:13Z')],
        logEntries: [{ logIndex: '23891210' }],
      },
    })
    expect(reasonOf(check(json, payload))).toMatch(/^the log that it names \(c0d23d6a/)
    expect(reasonOf(check(json, PAYLOAD, genuine))).toMatch(/^it was made over other content/)
  })
})

type Seeds = Record<string, { targets: Record<string, string> }>

describe('is refused', () => {
  test.each<[string, SignOptions, RegExp]>([
    [
      'without a log entry',
      { withoutLog: true, withTimestamp: true },
      /^it has no entry in a transparency log/,
    ],
    [
      '[attack: expired-certificate-without-timestamp] when nobody vouches for the time',
      { withoutPromise: true },
      /^nothing proves when it was made/,
    ],
    [
      '[attack: expired-certificate-without-timestamp] when it was made after the certificate had expired',
      { minutesLater: 20 },
      /^the certificate had expired at the time of signing: it was valid from \S+Z to \S+Z, and the signature was made at \S+Z$/,
    ],
    [
      '[attack: expired-certificate-without-timestamp] when the authority has seen it only then',
      { minutesLater: 20, withoutPromise: true, withTimestamp: true },
      /^the certificate had expired at the time of signing/,
    ],
    ['made before the certificate was valid', { minutesLater: -5 }, /^the certificate was not yet valid/],
    [
      '[attack: log-entry-of-another-artifact]',
      { entryOf: OTHER },
      /^its log entry is for another signature or another artifact$/,
    ],
    [
      '[attack: log-entry-of-another-artifact] of a log of the second kind',
      { entryOf: OTHER, rekorV2: true, withTimestamp: true },
      /^its log entry is for another signature or another artifact$/,
    ],
    [
      'when the log has noted it under another name',
      { entryNames: { names: [{ uri: 'https://somebody.example' }] } },
      /^its log entry does not name its certificate$/,
    ],
    [
      'when no certificate log knows the certificate',
      { certificate: { withoutSct: true } },
      /^its certificate has no timestamp of a certificate log \(SCT\)/,
    ],
    [
      'by an authority’s certificate',
      { certificate: { isAuthority: true } },
      /^its certificate is that of a certificate authority$/,
    ],
    [
      'by a certificate for a server',
      { certificate: { uses: ['1.3.6.1.5.5.7.3.1'] } },
      /^its certificate is not for signing code$/,
    ],
    [
      'by a certificate for nothing',
      { certificate: { uses: [] } },
      /^its certificate is not for signing code$/,
    ],
    [
      '[attack: look-alike-identity] with a second name beside the right one',
      { certificate: { names: [{ uri: IDENTITY }, { uri: 'https://somebody.example' }] } },
      /^its certificate has 2 names, but only one is allowed$/,
    ],
    [
      '[attack: look-alike-identity] with a second name of another kind',
      { certificate: { names: [{ email: 'somebody@example' }, { uri: IDENTITY }] } },
      /^its certificate has 2 names/,
    ],
    [
      'with a name of another kind',
      { certificate: { names: [{ dns: 'example.internal' }] } },
      /is not a URI, an e-mail address or a user name/,
    ],
    ['without a name', { certificate: { names: [] } }, /^its certificate contains no name$/],
    [
      '[attack: look-alike-identity] with a byte in the name that looks like a letter without its highest bit',
      { certificate: { names: [{ uri: IDENTITY.replace('c', '\xe3') }] } },
      /^the name in its certificate contains invalid characters$/,
    ],
    [
      '[attack: look-alike-identity] with such a byte in the issuer',
      { certificate: { issuer: Buffer.from(ISSUER.replace('a', '\xe1'), 'latin1') } },
      /^the issuer in its certificate contains invalid characters$/,
    ],
    [
      '[attack: look-alike-identity] with an invisible character in the issuer',
      { issuer: `${ISSUER}\u200b` },
      /^the issuer in its certificate contains invalid characters$/,
    ],
    [
      '[attack: look-alike-identity] with a zero byte behind the name',
      { identity: `${IDENTITY}\0.example` },
      /^the name in its certificate contains/,
    ],
    ['without an issuer', { certificate: { issuer: undefined } }, /does not name the issuer/],
    [
      'with two issuers',
      {
        certificate: { extensions: [{ oid: FULCIO_ISSUER_V1, value: Buffer.from('https://other.example') }] },
      },
      /^its certificate names two issuers$/,
    ],
    [
      'with an extension twice',
      { certificate: { extensions: [{ oid: FULCIO_ISSUER, value: utf8('https://other.example') }] } },
      /has the extension 1\.3\.6\.1\.4\.1\.57264\.1\.8 twice$/,
    ],
    [
      'with a critical extension that nobody knows',
      { certificate: { extensions: [{ oid: '1.2.3.4', critical: true, value: utf8('') }] } },
      /has the critical extension 1\.2\.3\.4, which is unknown$/,
    ],
    [
      'with a name without end',
      { identity: `https://${'a'.repeat(3000)}` },
      /^the name in its certificate contains/,
    ],
  ])('%s', async (_, options, reason) => {
    expect(reasonOf(check(await sigstore.sign(PAYLOAD, options)))).toMatch(reason)
  })

  test('over other content, with both hashes', async () => {
    expect(reasonOf(check(await sigstore.sign(PAYLOAD), OTHER))).toMatch(
      /^it was made over other content: it signs [0-9a-f]{64}, these bytes have [0-9a-f]{64}/,
    )
  })

  test('when it is another one than the certificate’s', async () => {
    const other = await sigstore.sign(PAYLOAD)
    const { signature } = (JSON.parse(other.toString()) as Json).messageSignature
    const json = await changed((one) => {
      one.messageSignature['signature'] = signature
    })
    expect(reasonOf(check(json))).toMatch(/^its log entry is for another signature/)
  })

  test('[attack: trusted-root-inside] by strangers, whatever chain they bring along', async () => {
    const theirs = await stranger.sign(PAYLOAD, {
      v01: true,
      change: ({ verificationMaterial: { content } }) => {
        if (content.$case !== 'x509CertificateChain') return
        content.x509CertificateChain.certificates.push({ rawBytes: stranger.certificateAuthority })
      },
    })
    const strangers = parseTrustedRoot(stranger.trustedRoot, 'strangers.json')
    expect(reasonOf(check(theirs, PAYLOAD, strangers))).toBe('it is good')
    expect(reasonOf(check(theirs))).toMatch(
      /^the log that it names \([0-9a-f]{64}\) is not in the trusted root \(trusted_root\.json/,
    )
  })

  test('[attack: trusted-root-inside] by a stranger’s certificate that the right log has noted', async () => {
    const mixed = mixedRoot(stranger, sigstore, 'tlogs')
    const theirs = await stranger.sign(PAYLOAD, { v01: true })
    expect(reasonOf(check(theirs, PAYLOAD, mixedRoot(sigstore, stranger, 'tlogs')))).toMatch(
      /^its certificate was not issued by an authority that the trusted root has for that time/,
    )
    expect(reasonOf(check(await sigstore.sign(PAYLOAD), PAYLOAD, mixed))).toMatch(
      /^its certificate was not issued/,
    )
  })

  test('by a certificate that only a stranger’s certificate log knows', async () => {
    const verdict = check(await sigstore.sign(PAYLOAD), PAYLOAD, mixedRoot(sigstore, stranger, 'ctlogs'))
    expect(reasonOf(verdict)).toMatch(/^the timestamp in its certificate \(SCT\) is not by a certificate log/)
  })

  test('with a timestamp by a stranger', async () => {
    const json = await sigstore.sign(PAYLOAD, { withTimestamp: true })
    const verdict = check(json, PAYLOAD, mixedRoot(sigstore, stranger, 'timestampAuthorities'))
    expect(reasonOf(verdict)).toMatch(/^a timestamp in it is not for this signature, or not by an authority/)
  })

  test('[attack: unknown-media-type]', async () => {
    for (const mediaType of [
      'application/vnd.dev.sigstore.bundle.v0.9+json',
      'application/vnd.dev.sigstore.bundle+json;version=0.9',
      'application/vnd.dev.sigstore.bundle.v0.3+json ',
      'application/json',
      '',
      null,
      ['application/vnd.dev.sigstore.bundle.v0.3+json'],
      { toString: 'x' },
    ]) {
      const json = await changed((one) => ({ ...one, mediaType }))
      expect(reasonOf(check(json))).toBe(
        'it is not a usable Sigstore bundle: its media type is not that of a known Sigstore bundle',
      )
    }
  })

  test.each<[string, (json: Json) => unknown, RegExp]>([
    [
      'no entries under an empty list',
      (one) => void (one.verificationMaterial.tlogEntries = []),
      /no entry in a transparency log/,
    ],
    [
      'the same entry twice',
      (one) => void one.verificationMaterial.tlogEntries.push(firstEntry(one)),
      /^it has the same timestamp twice|^it has the same log entry twice/,
    ],
    [
      'entries without end',
      (one) => {
        one.verificationMaterial.tlogEntries = Array.from({ length: 17 }, () => firstEntry(one))
      },
      /tlogEntries: more than 16 of them/,
    ],
    ['a member that nobody knows', (one) => ({ ...one, trustedRoot: {} }), /unknown/],
    [
      'a member that nobody knows, further down',
      (one) => void (firstEntry(one)['logID'] = firstEntry(one)['logId']),
      /unknown/,
    ],
    [
      'a key besides',
      (one) => void (one.verificationMaterial['publicKey'] = { hint: '' }),
      /both a key and a certificate/,
    ],
    [
      'an envelope besides',
      (one) => ({
        ...one,
        dsseEnvelope: { payload: 'eA==', payloadType: 'x', signatures: [{ sig: 'eA==' }] },
      }),
      /one content is expected/,
    ],
    [
      'a chain besides',
      (one) => {
        const { certificate } = one.verificationMaterial
        one.verificationMaterial['x509CertificateChain'] = { certificates: [certificate] }
      },
      /one certificate is expected/,
    ],
    [
      'base64 with white space in it',
      (one) => void (one.messageSignature['signature'] = ` ${String(one.messageSignature['signature'])}`),
      /signature: it is not canonical base64/,
    ],
    [
      'a place in the log that is the same number otherwise written',
      (one) => void (firstEntry(one)['logIndex'] = `0${String(firstEntry(one)['logIndex'])}`),
      /^a number in its log entry is not in canonical form$/,
    ],
    [
      'a place in the log that is none',
      (one) => void (firstEntry(one)['logIndex'] = '0x10'),
      /a whole number is expected/,
    ],
    [
      'another time',
      (one) => void (firstEntry(one)['integratedTime'] = '1700000000'),
      /^the certificate was not yet valid/,
    ],
    [
      'another place in the log',
      (one) => void (firstEntry(one)['logIndex'] = '4711'),
      /^the promise in its log entry was not made by that log, or not for this entry$/,
    ],
    [
      'another size of the log',
      (one) => void ((firstEntry(one)['inclusionProof'] as Record<string, unknown>)['treeSize'] = '2'),
      /^the proof of its log entry and the checkpoint do not agree$/,
    ],
    [
      'another hash of the log',
      (one) => void ((firstEntry(one)['inclusionProof'] as Record<string, unknown>)['rootHash'] = 'AAAA'),
      /^the proof of its log entry and the checkpoint do not agree$/,
    ],
    [
      'another kind of entry',
      (one) => void (firstEntry(one)['kindVersion'] = { kind: 'rekord', version: '0.0.1' }),
      /^its log entry is of an unknown kind \(rekord 0\.0\.1\)$/,
    ],
    [
      'no hash that is known',
      (one) =>
        void Object.assign(one.messageSignature['messageDigest'] as object, {
          algorithm: 'HASH_ALGORITHM_UNSPECIFIED',
        }),
      /^it does not sign a SHA-2 hash$/,
    ],
    [
      'no certificate',
      (one) => void delete one.verificationMaterial['certificate'],
      /one certificate is expected/,
    ],
    [
      'what is no certificate',
      (one) => void (one.verificationMaterial['certificate'] = { rawBytes: 'AAAA' }),
      /^a part of it is missing or damaged$/,
    ],
    ['nothing', () => ({}), /media type/],
    ['a list', () => [], /media type/],
  ])('that has %s', async (_, change, reason) => {
    expect(reasonOf(check(await changed(change)))).toMatch(reason)
  })

  test('that is larger than 1 MiB, or has a member twice', async () => {
    const json = await sigstore.sign(PAYLOAD)
    expect(reasonOf(check(Buffer.concat([json, Buffer.alloc(1024 * 1024, ' ')])))).toMatch(
      /larger than 1 MiB/,
    )
    const doubled = json.toString().replace('{', '{"mediaType":"application/json",')
    expect(reasonOf(check(Buffer.from(doubled)))).toMatch(/occurs twice/)
  })

  test('for any bit of it that is changed, and with a reason that prints', async () => {
    const json = await sigstore.sign(PAYLOAD, { withTimestamp: true })
    const good = check(json)
    fc.assert(
      fc.property(fc.nat(json.length - 2), fc.nat(7), (at, bit) => {
        const other = Buffer.from(json)
        other.writeUInt8(other.readUInt8(at) ^ (1 << bit), at)
        const verdict = check(other)
        // The checkpoint may have further signatures, and names beside it: they decide nothing, and nothing says them.
        if (verdict.ok) expect(verdict).toEqual(good)
        else expect(verdict.reason).toMatch(/^[\x20-\x7e]+$/)
      }),
      { numRuns: 150 },
    )
  })
})

/** One instance’s root with one part of another’s. */
function mixedRoot(mine: Sigstore, other: Sigstore, part: string): Root {
  const parse = ({ trustedRoot }: Sigstore): Record<string, unknown> =>
    JSON.parse(trustedRoot.toString()) as Record<string, unknown>
  const mixed = { ...parse(mine), [part]: parse(other)[part] }
  return parseTrustedRoot(Buffer.from(JSON.stringify(mixed)), 'mixed.json')
}

/** A trusted root as JSON, with what is said of the first of each kind. */
interface RootJson {
  tlogs: [{ publicKey: Record<string, unknown> }]
  ctlogs: [{ publicKey: Record<string, unknown> }]
  certificateAuthorities: [Record<string, unknown>]
  timestampAuthorities: [Record<string, unknown>]
}

/** Where the time for which each kind is valid stands. */
const VALIDITY: [string, (json: RootJson) => Record<string, unknown>][] = [
  ['tlogs.0.publicKey', (json) => json.tlogs[0].publicKey],
  ['ctlogs.0.publicKey', (json) => json.ctlogs[0].publicKey],
  ['certificateAuthorities.0', (json) => json.certificateAuthorities[0]],
  ['timestampAuthorities.0', (json) => json.timestampAuthorities[0]],
]

/** The root, changed. */
function changedRoot(change: (json: RootJson) => unknown): Buffer {
  const json = JSON.parse(sigstore.trustedRoot.toString()) as RootJson
  change(json)
  return Buffer.from(JSON.stringify(json))
}

describe('a trusted root', () => {
  test.each<[string, (json: Record<string, unknown>) => unknown, RegExp]>([
    [
      'of another kind',
      (one) => ({ ...one, mediaType: 'application/json' }),
      /is not a trusted root of Sigstore/,
    ],
    [
      'without authorities',
      (one) => ({ ...one, certificateAuthorities: [] }),
      /lacks a certificate authority/,
    ],
    [
      'without logs',
      ({ mediaType, certificateAuthorities }) => ({ mediaType, certificateAuthorities }),
      /lacks a certificate log and a transparency log/,
    ],
    ['damaged', (one) => ({ ...one, tlogs: [{}] }), /cannot be read as a trusted root/],
    ['that is a list', () => [], /is not a trusted root of Sigstore/],
  ])('%s is refused', (_, change, message) => {
    const json = JSON.parse(sigstore.trustedRoot.toString()) as Record<string, unknown>
    expect(() => parseTrustedRoot(Buffer.from(JSON.stringify(change(json))), 'root.json')).toThrow(message)
  })

  test.each(VALIDITY)('says of each since when it is valid, also of %s', (place, of) => {
    const refusal = (change: (entry: Record<string, unknown>) => unknown): string => {
      try {
        parseTrustedRoot(
          changedRoot((json) => change(of(json))),
          'root.json',
        )
        return 'it is taken'
      } catch (error) {
        return (error as Error).message
      }
    }
    const range = (validFor: unknown): string => refusal((entry) => Object.assign(entry, { validFor }))
    const start = '2020-01-01T00:00:00Z'
    const at = `root.json cannot be read as a trusted root of Sigstore: ${place}`

    expect(range({ start })).toBe('it is taken')
    expect(range({ start, end: null })).toBe('it is taken')
    expect(range({ start, end: start })).toBe('it is taken')
    expect(range({ start: '2020-01-01T02:00:00.000000001+02:00', end: '2021-12-31T23:59:59.999Z' })).toBe(
      'it is taken',
    )
    for (const nothing of [{}, { end: start }, { start: null }]) {
      expect(range(nothing)).toBe(`${at}.validFor: it has no start`)
    }
    expect(refusal((entry) => delete entry['validFor'])).toMatch(`${at}.validFor: a member is missing`)
    expect(range(null)).toMatch(`${at}.validFor: a member is missing`)
    expect(range({ start, End: start })).toMatch(`${at}.validFor.End: a member is missing, unknown`)
    expect(refusal((entry) => Object.assign(entry, { valid_for: { start } }))).toMatch(
      `${at}.valid_for: a member is missing, unknown`,
    )
    for (const none of ['soon', '', '2020', '2020-01-01', '2020-02-30T00:00:00Z', '2020-01-01T24:00:00Z']) {
      expect(range({ start: none }), none).toBe(
        `${at}.validFor.start: it is not a time like 2026-01-31T12:00:00Z`,
      )
      expect(range({ start, end: none }), none).toMatch(`${at}.validFor.end: it is not a time`)
    }
    expect(range({ start: 1_577_836_800 })).toBe(`${at}.validFor.start: a time is expected`)
    expect(range({ start: { seconds: '0' } })).toBe(`${at}.validFor.start: a time is expected`)
    expect(range({ start, end: '2019-12-31T23:59:59Z' })).toBe(`${at}.validFor: it ends before it begins`)
  })

  test.each<[string, (json: RootJson) => unknown, string]>([
    ['a member', (json) => Object.assign(json, { Tlogs: [] }), 'Tlogs: a member is missing, unknown'],
    ['a log', (json) => Object.assign(json.tlogs[0], { log_id: 1 }), 'tlogs.0.log_id: a member is missing'],
    [
      'an authority',
      (json) => Object.assign(json.certificateAuthorities[0], { cert_chain: {} }),
      'certificateAuthorities.0.cert_chain: a member is missing',
    ],
    [
      'bytes',
      (json) => Object.assign(json.ctlogs[0].publicKey, { rawBytes: '####' }),
      'ctlogs.0.publicKey.rawBytes: it is not canonical base64',
    ],
    [
      'a hash',
      (json) => Object.assign(json.tlogs[0], { hashAlgorithm: 'SHA2_512' }),
      'tlogs.0.hashAlgorithm: only SHA2_256 is known',
    ],
    ['a list', (json) => Object.assign(json, { tlogs: {} }), 'tlogs: a list is expected'],
  ])('with %s that is not known is refused', (_, change, message) => {
    expect(() => parseTrustedRoot(changedRoot(change), 'root.json')).toThrow(message)
  })

  const byLog: SignOptions = {}
  const byRekor2: SignOptions = { rekorV2: true, withTimestamp: true }
  const byTimestamp: SignOptions = { withTimestamp: true }
  test.each<[string, number, SignOptions, RegExp]>([
    [
      'a log',
      0,
      byLog,
      /^the log that it names was not in use when it was signed \(2026-06-01T12:00:00Z\): /,
    ],
    [
      'a log that tells no time',
      0,
      byRekor2,
      /^the log that it names was not in use when it was signed \(2026-06-01T12:00:00Z\): /,
    ],
    ['a certificate log', 1, byLog, /SCT.*is not by a certificate log in the trusted root/],
    ['an authority', 2, byLog, /not issued by an authority that the trusted root has for that time/],
    [
      'an authority, at the time of a timestamp',
      2,
      byRekor2,
      /not issued by an authority that the trusted root/,
    ],
    ['a timestamp authority', 3, byTimestamp, /not by an authority in the trusted root/],
  ])('believes %s only for the time that it says, its ends included', async (_, kind, options, reason) => {
    const moment = '2026-06-01T12:00:00Z'
    const then = await makeSigstore(new Date(moment))
    const json = await then.sign(PAYLOAD, options)
    const verdict = (start: string, end?: string): string => {
      const changed = JSON.parse(then.trustedRoot.toString()) as RootJson
      VALIDITY[kind]![1](changed)['validFor'] = { start, ...(end === undefined ? {} : { end }) }
      const trusted = parseTrustedRoot(Buffer.from(JSON.stringify(changed)), 'root.json')
      return reasonOf(check(json, PAYLOAD, trusted))
    }
    expect(verdict('1970-01-01T00:00:00Z')).toBe('it is good')
    expect(verdict('1970-01-01T00:00:00Z', '2026-06-01T11:59:59Z')).toMatch(reason)
    expect(verdict('2026-06-01T12:00:01Z')).toMatch(reason)
    // The certificate log and the timestamp authority of the tests tell milliseconds, too.
    const [first, last] = kind === 0 || kind === 2 ? [moment, moment] : [moment, '2026-06-01T12:00:00.999Z']
    expect(verdict(first, last)).toBe('it is good')
  })

  test('says in a refusal when the log was in use', async () => {
    const json = await sigstore.sign(PAYLOAD)
    const validFor = { start: '2020-01-01T00:00:00Z', end: '2021-12-31T23:59:59.999Z' }
    const ended = changedRoot(({ tlogs }) => Object.assign(tlogs[0].publicKey, { validFor }))
    expect(reasonOf(check(json, PAYLOAD, parseTrustedRoot(ended, 'root.json')))).toMatch(
      /: the trusted root has it from 2020-01-01T00:00:00Z to 2021-12-31T23:59:59Z$/,
    )
    const coming = changedRoot(({ tlogs }) =>
      Object.assign(tlogs[0].publicKey, { validFor: { start: '2100-01-01T00:00:00Z' } }),
    )
    expect(reasonOf(check(json, PAYLOAD, parseTrustedRoot(coming, 'root.json')))).toMatch(
      /: the trusted root has it from 2100-01-01T00:00:00Z on$/,
    )
  })
})
