import { generateKeyPairSync, sign } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { SIGSTORE_SIGNATURE } from '../../src/bundle/names.ts'
import { trustFrom, type TrustFlagValues } from '../../src/cli/input/trust.ts'
import { serveResult } from '../../src/cli/output/render-serve.ts'
import { planDocument, renderPushPlan, renderReceipt } from '../../src/cli/output/render-push.ts'
import { renderSign, signResult } from '../../src/cli/output/render-sign.ts'
import { renderServe } from '../../src/cli/output/render-serve.ts'
import {
  planPush,
  push,
  readPrivateKey,
  readTrustedRoot,
  serve,
  sign as signBundle,
  verify,
  type TrustOptions,
} from '../../src/index.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { archiveOf, draftOf } from '../support/build-bundle.ts'
import { parsePublicKey, type PublicKey } from '../../src/trust/keys.ts'
import { certifiedEntries } from '../trust/certified-bundle.ts'
import { errorOf } from '../trust/helpers.ts'
import { IDENTITY, ISSUER, makeSigstore } from '../trust/sigstore.ts'
import { residentAirgap, scratch } from '../support/airgap.ts'
import { expectResult } from '../support/schemas.ts'

const FLAGS = [
  '--certificate-identity',
  IDENTITY,
  '--certificate-oidc-issuer',
  ISSUER,
  '--trusted-root',
  'trusted_root.json',
]

let folder: Awaited<ReturnType<typeof scratch>>
let bundle: string
let trust: TrustOptions
let key: PublicKey

beforeAll(async () => {
  folder = await scratch()
  const sigstore = await makeSigstore(new Date('2026-06-01T12:00:00Z'))
  const draft = await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }])
  bundle = folder.file('b.tar')
  let checksums: Uint8Array = Buffer.alloc(0)
  const entries = await certifiedEntries(draft, (bytes) => {
    checksums = bytes
    return sigstore.sign(bytes, { withTimestamp: true })
  })
  await writeFile(bundle, archiveOf(entries))
  await writeFile(folder.file('trusted_root.json'), sigstore.trustedRoot)
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  key = parsePublicKey(Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })), 'second.pub')
  await writeFile(folder.file('counter.sig'), sign('sha256', checksums, privateKey))
  trust = {
    identities: [{ identity: IDENTITY, issuer: ISSUER }],
    trustedRoot: folder.file('trusted_root.json'),
  }
})
afterAll(() => folder?.[Symbol.asyncDispose]())

/** The signer as every document has it. */
const SIGNER = {
  identity: IDENTITY,
  issuer: ISSUER,
  signature: SIGSTORE_SIGNATURE,
  signedAt: '2026-06-01T12:00:00.000Z',
  logId: expect.stringMatching(/^[0-9a-f]{64}$/),
  logIndex: expect.stringMatching(/^\d+$/),
  trustedRoot: {
    file: expect.stringMatching(/trusted_root\.json$/),
    digest: expect.stringMatching(/^sha256:/),
  },
}

describe('who has signed with a certificate is told', () => {
  test('by verify, to people and as data', async () => {
    const text = await residentAirgap(['verify', 'b.tar', ...FLAGS], { cwd: folder.path })
    expect(text).toMatchObject({ code: 0 })
    expect(text.stdout).toContain('b.tar: GOOD: complete, unaltered, and signed by the identity given\n')
    expect(text.stdout).toMatch(
      /\n {2}signed by +https:\/\/ci\.example\.internal\/release\n {2}vouched for by +https:\/\/accounts\.example\.internal\n {2}signed at +2026-06-01T12:00:00Z\n {2}log entry +\d+\n {2}trusted root +trusted_root\.json\n/,
    )
    const json = await residentAirgap(['verify', 'b.tar', ...FLAGS, '--json'], { cwd: folder.path })
    const document = json.json()
    expectResult('verify', document)
    expect(document).toMatchObject({
      verdict: 'good',
      authentication: {
        state: 'signed',
        identity: IDENTITY,
        issuer: ISSUER,
        signature: SIGSTORE_SIGNATURE,
        signers: [SIGNER],
      },
    })
  })

  test('in the receipt and the plan of a push', async () => {
    await using registry = await startRegistry()
    const target = { ...trust, registries: { plainHttp: [registry.host] } }
    const plan = await planPush(bundle, registry.host, target)
    expect(plan.authentication).toMatchObject({ state: 'signed', signers: [SIGNER] })
    const byName =
      /\n {2}signed by +https:\/\/ci\.example\.internal\/release\n {2}vouched for by +https:\/\/accounts\.example\.internal\n/
    expect(renderPushPlan(planDocument(plan), { details: false })).toMatch(byName)
    const receipt = await push(bundle, registry.host, target)
    expect(receipt.authentication).toMatchObject({
      state: 'signed',
      identity: IDENTITY,
      issuer: ISSUER,
      signers: [SIGNER],
    })
    expect(renderReceipt(receipt, { details: false, receiptFile: 'receipt.json' })).toMatch(byName)
  })

  test('by sign, whose approver is another', async () => {
    const output = folder.file('approved.json')
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    await writeFile(folder.file('approver.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const approver = await readPrivateKey(folder.file('approver.pem'), async () => undefined)
    const opened = await signBundle(bundle, { ...trust, key: approver, output })
    const text = renderSign(signResult(opened, { key: approver, output }))
    expect(text).toMatch(/complete, unaltered, and signed by the identity given\n/)
    expect(text).toMatch(
      /\n {2}made by +https:\/\/ci\.example\.internal\/release\n {2}vouched for by +https:\/\/accounts\.example\.internal\n/,
    )
    expect(text).toContain(`key ${approver.publicKey.fingerprint}`)
  })

  test('by serve, with a root that was read before, and a signature by a key besides', async () => {
    const trustedRoot = await readTrustedRoot(folder.file('trusted_root.json'))
    await using served = await serve([bundle], {
      ...trust,
      trustedRoot,
      keys: [key],
      signatures: [folder.file('counter.sig')],
      listen: { host: '127.0.0.1', port: 0 },
    })
    const document = serveResult(served, { host: 'registry.internal:5000', isTls: false })
    expect(document.bundles[0]?.authentication.signers).toMatchObject([
      SIGNER,
      { keyFingerprint: key.fingerprint, signature: folder.file('counter.sig') },
    ])
    const text = renderServe(document, served)
    expect(text).toMatch(
      / {4}GOOD: unaltered, and signed by 2 of those given\n {4}https:\/\/ci\.example\.internal\/release\n {4}vouched for by https:/,
    )
    expect(text).toContain(`    key ${key.fingerprint}\n`)
  })

  test('and a stranger, in words that name both', async () => {
    const somebody = { ...trust, identities: [{ identity: 'somebody@example.internal', issuer: ISSUER }] }
    const error = await errorOf(() => verify(bundle, somebody))
    expect(error).toMatchObject({
      code: 'VERIFICATION_FAILED',
      problems: [
        {
          entry: SIGSTORE_SIGNATURE,
          message: `it was made by ${IDENTITY} (issuer ${ISSUER}), not by somebody@example.internal (issuer ${ISSUER})`,
        },
      ],
    })
    expect(error.hint).toContain('Check that identity, issuer and trusted root are the right ones')
  })
})

const WHO = {
  'certificate-identity': 'me@example.com',
  'certificate-oidc-issuer': 'https://login.example.com',
}
const ALL = { ...WHO, 'trusted-root': 'trusted_root.json' }

test('the flags of a certificate make one identity, beside keys', () => {
  expect(trustFrom({ ...ALL, key: ['a.pub'] }, { flag: '--allow-unsigned', isSet: false })).toMatchObject({
    keys: ['a.pub'],
    identities: [{ identity: 'me@example.com', issuer: 'https://login.example.com' }],
    trustedRoot: 'trusted_root.json',
  })
})

test.each<[TrustFlagValues, string, string]>([
  [
    WHO,
    '--certificate-identity needs a trusted root to check certificates with',
    '--trusted-root trusted_root.json',
  ],
  [
    { 'trusted-root': 'x' },
    '--trusted-root is given, but not whom a certificate must name',
    '--certificate-identity ',
  ],
  [
    { 'certificate-oidc-issuer': 'x', 'trusted-root': 'x' },
    '--certificate-oidc-issuer is given, but not whom the certificate must name',
    '--certificate-identity ',
  ],
  [
    { 'certificate-identity-regexp': 'x', 'trusted-root': 'x' },
    '--certificate-identity-regexp is given, but not which issuer must vouch for that identity',
    '--certificate-oidc-issuer ',
  ],
  [
    { ...ALL, 'certificate-identity-regexp': 'x' },
    '--certificate-identity and --certificate-identity-regexp cannot be used together',
    'the whole',
  ],
  [
    { ...ALL, 'certificate-oidc-issuer-regexp': 'x' },
    '--certificate-oidc-issuer and --certificate-oidc-issuer-regexp cannot be used together',
    'the whole',
  ],
  [{ ...ALL, 'certificate-identity': '' }, '--certificate-identity is empty', 'variable'],
  [{ ...ALL, 'trusted-root': '' }, '--trusted-root is empty', 'variable'],
  [{ signature: ['x.sig'] }, '--signature needs a --key to check it with', '--certificate-identity'],
  [{}, 'no key is given to check the bundle with', '--trusted-root'],
])('a mistake in the flags has its own words: %j', async (flags, message, hint) => {
  const error = await errorOf(() => trustFrom(flags, { flag: '--allow-unsigned', isSet: false }))
  expect(error).toMatchObject({ code: 'USAGE', message })
  expect(error.hint).toContain(hint)
})

test('nobody is named together with doing without a signature', async () => {
  for (const flag of ['certificate-identity', 'certificate-oidc-issuer-regexp', 'trusted-root'] as const) {
    const error = await errorOf(() => trustFrom({ [flag]: 'x' }, { flag: '--integrity-only', isSet: true }))
    expect(error).toMatchObject({
      code: 'USAGE',
      message: `--${flag} and --integrity-only cannot be used together`,
    })
  }
})

test('the library wants a root with identities, and somebody whose signature counts', async () => {
  const identities = [{ identity: IDENTITY, issuer: ISSUER }]
  for (const options of [{ identities }, { trustedRoot: 'x' }]) {
    expect(await errorOf(() => verify(bundle, options))).toMatchObject({ code: 'USAGE' })
  }
})
