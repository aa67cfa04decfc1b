import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { CHECKSUMS } from '../../src/bundle/names.ts'
import { trustFrom, type TrustFlagValues } from '../../src/cli/input/trust.ts'
import { readPolicy, serve, verify, type Policy, type VerifyOptions } from '../../src/index.ts'
import {
  archiveOf,
  draftOf,
  entriesOf,
  signer,
  temporaryBundle,
  type Entry,
} from '../support/build-bundle.ts'
import { HEAD, policyFolder } from '../trust/policy/policies.ts'
import { makeSigstore, type Sigstore } from '../trust/sigstore.ts'

let entries: Entry[]
let sigstore: Sigstore
beforeAll(async () => {
  entries = entriesOf(await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }]))
  sigstore = await makeSigstore()
})

const POLICY = `${HEAD}signers:
  alice: { keys: [alice.pub] }
  ci:
    identities:
      - identity: https://ci.example.internal/release
        issuer: https://accounts.example.internal
require: all of [alice, ci]
`

async function folderWith(policy = POLICY): Promise<{ folder: string; file: string; bundle: string }> {
  const content = entries.find(({ name }) => name === CHECKSUMS)?.content ?? Buffer.alloc(0)
  const folder = await policyFolder({
    'policy.yaml': policy,
    'alice.pub': signer.publicKey.keyObject.export({ type: 'spki', format: 'pem' }),
    'trusted_root.json': sigstore.trustedRoot,
    'ci.sigstore.json': await sigstore.sign(content),
  })
  return { folder, file: join(folder, 'policy.yaml'), bundle: await temporaryBundle(archiveOf(entries)) }
}

describe('a bundle that an approver and a pipeline have signed', () => {
  test('is verified by a policy, with the trusted root from beside it or from the caller', async () => {
    const { folder, file, bundle } = await folderWith()
    const options: VerifyOptions = {
      policy: file,
      trustedRoot: join(folder, 'trusted_root.json'),
      signatures: [join(folder, 'ci.sigstore.json')],
    }
    const { rules } = await verify(bundle, options)
    expect(rules).toMatchObject([{ ok: true, expected: 'all of [alice, ci]', found: 'signed by alice, ci' }])
    // As it was read, too.
    expect((await verify(bundle, { ...options, policy: await readPolicy(file) })).rules).toEqual(rules)

    const own = await folderWith(`${POLICY}trustedRoot: trusted_root.json\n`)
    const { signatures } = options
    expect((await verify(own.bundle, { policy: own.file, signatures })).rules).toEqual(rules)
    await expect(verify(bundle, { policy: own.file })).rejects.toMatchObject({
      code: 'VERIFICATION_FAILED',
      problems: [{ message: expect.stringContaining('only alice has signed: a signature of ci is missing') }],
    })
  })

  test('is served by it', async () => {
    const { folder, file, bundle } = await folderWith(`${POLICY}trustedRoot: trusted_root.json\n`)
    const options = { policy: file, listen: { host: '127.0.0.1', port: 0 } }
    await expect(serve([bundle], options)).rejects.toMatchObject({ code: 'VERIFICATION_FAILED' })
    await using served = await serve([bundle], { ...options, signatures: [join(folder, 'ci.sigstore.json')] })
    expect(served.bundles[0]?.rules).toMatchObject([{ ok: true }])
  })
})

describe('what would ask for less than it seems to', () => {
  test.each<[what: string, options: object]>([
    ['a least sequence that is no number', { keys: [signer.publicKey], minSequence: Number.NaN }],
    ['the same as a text', { keys: [signer.publicKey], minSequence: '' }],
    ['keys, and a word that is taken for doing without', { keys: [signer.publicKey], unauthenticated: 'no' }],
    ['empty lists', { keys: [], identities: [], trustedRoot: 'trusted_root.json' }],
  ])('%s', async (_, options) => {
    const bundle = await temporaryBundle(archiveOf(entries))
    await expect(verify(bundle, options)).rejects.toMatchObject({ code: 'USAGE' })
  })
})

test.each<[what: string, require: Policy['require']]>([
  ['asks for nobody', []],
  ['counts one person twice', [{ text: '2 of [alice, alice]', count: 2, members: ['alice', 'alice'] }]],
  ['asks for no number of them', [{ text: 'some of [alice]', count: 0, members: ['alice'] }]],
])('a policy made by hand that %s is refused', async (_, require) => {
  const { file, bundle } = await folderWith(`${HEAD}signers: { alice: { keys: [alice.pub] } }\n`)
  const policy = await readPolicy(file)
  await verify(bundle, { policy })
  await expect(verify(bundle, { policy: { ...policy, require } })).rejects.toMatchObject({
    code: 'INVALID_POLICY',
  })
})

describe('what does not go together', () => {
  test.each<[what: string, policy: string, options: VerifyOptions, message: string]>([
    [
      'keys beside a policy',
      POLICY,
      { keys: [signer.publicKey] },
      'a policy names its signers, but keys or identities are given beside it',
    ],
    [
      'no check at all',
      POLICY,
      { unauthenticated: true },
      'a bundle is checked either with keys, identities or a policy, or explicitly unauthenticated',
    ],
    [
      'identities without a root',
      POLICY,
      {},
      'names identities, which are checked with a trusted root, but none is given',
    ],
    [
      'two roots',
      `${POLICY}trustedRoot: trusted_root.json\n`,
      { trustedRoot: 'other.json' },
      'names its trusted root,',
    ],
  ])('%s', async (_, policy, options, message) => {
    const { file, bundle } = await folderWith(policy)
    await expect(verify(bundle, { policy: file, ...options })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(message),
    })
  })

  test('a policy that cannot be used is told before the bundle is opened', async () => {
    const { file } = await folderWith(POLICY.replace('all of', '9 of'))
    await expect(verify('/nonexistent', { policy: file })).rejects.toMatchObject({
      code: 'INVALID_POLICY',
      exitCode: 2,
    })
    await expect(verify('/nonexistent', { policy: `${file}x` })).rejects.toMatchObject({ code: 'FILE' })
  })

  test.each<[flags: TrustFlagValues, isSet: boolean, message: string]>([
    [{ policy: 'p', key: ['k'] }, false, '--policy and --key cannot be used together'],
    [{ policy: 'p' }, true, '--policy and --allow-unsigned cannot be used together'],
  ])('as flags: %j', (flags, isSet, message) => {
    expect(() => trustFrom(flags, { flag: '--allow-unsigned', isSet })).toThrow(message)
  })

  test('what a policy goes with, as flags', () => {
    const flags = {
      policy: 'p',
      signature: ['s'],
      'expect-digest': 'd',
      'expect-name': 'n',
      'min-sequence': 3,
    }
    expect(trustFrom(flags, { flag: '--allow-unsigned', isSet: false })).toEqual({
      policy: 'p',
      signatures: ['s'],
      expectDigest: 'd',
      expectName: 'n',
      minSequence: 3,
    } satisfies { policy: Policy | string } & VerifyOptions)
  })
})
