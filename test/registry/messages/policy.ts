import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { singleManifest } from '../../../fixtures/images/index.ts'
import type { BundleDescription } from '../../../src/bundle/description.ts'
import { AirgapError } from '../../../src/errors.ts'
import { verify } from '../../../src/index.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import {
  archiveOf,
  draftOf,
  entriesOf,
  newSigner,
  signer,
  temporaryBundle,
  temporaryFolder,
} from '../../support/build-bundle.ts'
import { errorOf, type Case } from './case.ts'

const pemOf = ({ publicKey }: typeof signer): string =>
  publicKey.keyObject.export({ type: 'spki', format: 'pem' }).toString()
const pem = pemOf(signer)
const HEAD = { type: 'dev.airgap.policy', formatVersion: '1.0' }
const policy = (more: object): object => ({ ...HEAD, signers: { alice: { keys: [{ pem }] } }, ...more })

/** What `airgap verify` says of a good bundle; of several problems, each is a part of the message. */
async function verifying(
  { policy: document, state }: { policy?: object; state?: string },
  description: Partial<BundleDescription> = {},
): Promise<never> {
  const draft = await draftOf(
    [{ source: 'example.test/app:1.0', built: await singleManifest() }],
    description,
  )
  const folder = await temporaryFolder()
  const [file, sequences] = [join(folder, 'policy.yaml'), join(folder, 'sequences.json')]
  if (document) await writeFile(file, JSON.stringify(document))
  if (state !== undefined) await writeFile(sequences, state)
  const {
    code,
    message,
    problems,
    hints: hint,
  } = await errorOf(async () =>
    verify(await temporaryBundle(archiveOf(entriesOf(draft))), {
      ...(document ? { policy: file } : { keys: [signer.publicKey] }),
      ...(state === undefined ? {} : { sequences }),
    }),
  )
  throw new AirgapError(code, [message, ...problems.map((one) => one.message)].join('; '), { hint })
}

const remembering = (sequence: number): string =>
  JSON.stringify({
    type: 'dev.airgap.sequences',
    formatVersion: '1.0',
    bundles: [
      {
        name: 'test.tar',
        signer: { keyFingerprint: signer.publicKey.fingerprint },
        sequence,
        digest: digestOf('another'),
        pushed: '2026-05-01T12:00:00.000Z',
        target: 'registry.internal',
      },
    ],
  })

async function verifyingBytes(change: (bytes: Buffer) => Uint8Array, key = signer): Promise<never> {
  const draft = await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }])
  const path = await temporaryBundle(change(archiveOf(entriesOf(draft))))
  throw await errorOf(() => verify(path, { keys: [key.publicKey] }))
}

export const POLICY_CASES: Case[] = [
  {
    name: 'a bundle that was not copied whole',
    provoke: () => verifyingBytes((bytes) => bytes.subarray(0, -2000)),
    says: /bundle\.tar is cut off: it has [\d,]+ of [\d,]+ bytes/,
    hints: [/^Copy it again/],
  },
  {
    name: 'a bundle by another key',
    provoke: () => verifyingBytes((bytes) => bytes, newSigner()),
    says: /bundle\.tar is signed by another key than the one given: [0-9a-f]{64}$/,
    hints: [/another way than the bundle/],
  },
  {
    name: 'too few people have signed',
    provoke: () =>
      verifying({
        policy: policy({
          signers: { alice: { keys: [{ pem }] }, bob: { keys: [{ pem: pemOf(newSigner()) }] } },
          require: 'all of [alice, bob]',
        }),
      }),
    says: /the policy requires the signatures of all of \[alice, bob\], but only alice has signed: a signature of bob is missing/,
    hints: [/--signature FILE/],
  },
  {
    name: 'a signer is revoked',
    provoke: () =>
      verifying({
        policy: policy({
          signers: {
            alice: { keys: [{ pem }], revoked: { date: '2026-05-01' } },
            bob: { keys: [{ pem: pemOf(newSigner()) }] },
          },
        }),
      }),
    says: /SHA256SUMS\.sigstore\.json does not count: made by alice, who is revoked \(since 2026-05-01\)/,
    hints: [/a refused signature does not count/],
  },
  {
    name: 'a policy with mistakes',
    provoke: () => verifying({ policy: policy({ require: 2, bundel: {} }) }),
    says: /the policy .*policy\.yaml cannot be used: 2 mistakes/,
    hints: [/docs\/trust\.md/],
  },
  {
    name: 'a bundle that is too old',
    provoke: () => verifying({ policy: policy({ bundle: { maxAge: '1h' } }) }),
    says: /the policy requires an age of at most 1h \(bundle\.maxAge\), but found: /,
    hints: [/The file is sound/],
  },
  {
    name: 'an older bundle than the last',
    provoke: () => verifying({ state: remembering(8) }),
    says: /its sequence is 7, but the last accepted one of this name and signer is 8/,
    hints: [/Bring the right one/],
  },
  {
    name: 'two bundles of one sequence',
    provoke: () => verifying({ state: remembering(7) }),
    says: /two bundles claim one sequence/,
    hints: [/Bring the right one/],
  },
  {
    name: 'a damaged memory',
    provoke: () => verifying({ state: '{' }),
    says: /which remembers the sequences of bundles, is damaged: it is not JSON/,
    hints: [/backup/],
  },
  {
    name: 'a clock that is behind',
    provoke: () => verifying({}, { created: '2199-01-01T00:00:00Z', expires: '2199-02-01T00:00:00Z' }),
    says: /this machine's clock says .*, but the bundle says it was created 2199-01-01T00:00:00Z/,
    hints: [/The file is sound/],
  },
]
