import { beforeAll, describe, expect, test } from 'vitest'
import {
  readCertificateBundle,
  verifyCertificateBundle,
} from '../../../src/trust/identity/certificate-bundle.ts'
import { parseTrustedRoot, type Root } from '../../../src/trust/identity/trusted-root.ts'
import { IDENTITY, ISSUER, makeSigstore, type Sigstore } from '../sigstore.ts'

const PAYLOAD = Buffer.from('what is signed\n')

let sigstore: Sigstore
let root: Root

beforeAll(async () => {
  sigstore = await makeSigstore()
  root = parseTrustedRoot(sigstore.trustedRoot, 'trusted_root.json')
})

function check(json: Buffer, payload = PAYLOAD, trusted = root): ReturnType<typeof verifyCertificateBundle> {
  const read = readCertificateBundle(json)
  return read.ok ? verifyCertificateBundle(read, payload, trusted) : read
}

describe('a signature by a certificate', () => {
  test('says who has signed, and which log knows of it', async () => {
    const verdict = check(await sigstore.sign(PAYLOAD))
    expect(verdict).toMatchObject({
      ok: true,
      by: { kind: 'identity', identity: IDENTITY, issuer: ISSUER, root: { source: 'trusted_root.json' } },
    })
    expect(verdict.ok && verdict.by.logEntries).toHaveLength(1)
    expect(verdict.ok && verdict.by.times).toHaveLength(1)
  })

  test('an envelope is verified with what it holds', async () => {
    const json = await sigstore.attest({ _type: 'https://in-toto.io/Statement/v1' })
    expect(check(json)).toMatchObject({ ok: true, by: { identity: IDENTITY } })
  })

  test('a timestamp of the authority will do where the log promises nothing', async () => {
    const json = await sigstore.sign(PAYLOAD, { withoutPromise: true, withTimestamp: true })
    expect(check(json)).toMatchObject({ ok: true, by: { identity: IDENTITY } })
    expect(check(await sigstore.sign(PAYLOAD, { withoutPromise: true }))).toMatchObject({ ok: false })
  })

  test('is refused without a log entry, over other content, and by another root', async () => {
    expect(check(await sigstore.sign(PAYLOAD, { withoutLog: true, withTimestamp: true }))).toMatchObject({
      ok: false,
    })
    expect(check(await sigstore.sign(PAYLOAD), Buffer.from('other'))).toEqual({
      ok: false,
      reason: 'it is over other content',
    })
    const other = parseTrustedRoot((await makeSigstore()).trustedRoot, 'other.json')
    expect(check(await sigstore.sign(PAYLOAD), PAYLOAD, other)).toMatchObject({ ok: false })
  })
})
