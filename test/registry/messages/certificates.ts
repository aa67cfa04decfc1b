import { singleManifest } from '../../../fixtures/images/index.ts'
import { AirgapError } from '../../../src/errors.ts'
import type { Trust } from '../../../src/verify/authenticate.ts'
import { verificationError, verifyBundle } from '../../../src/verify/content.ts'
import { fully, identityFrom } from '../../../src/trust/identity/identity.ts'
import { parseTrustedRoot } from '../../../src/trust/identity/trusted-root.ts'
import {
  archiveOf,
  draftOf,
  entriesOf,
  signer,
  temporaryBundle,
  type Draft,
  type Entry,
} from '../../support/build-bundle.ts'
import { TRUST } from '../../verify/check-bundle.ts'
import { certifiedEntries } from '../../trust/certified-bundle.ts'
import { IDENTITY, ISSUER, makeSigstore, type SignOptions, type Sigstore } from '../../trust/sigstore.ts'
import type { Case } from './case.ts'

let shared: Promise<{ sigstore: Sigstore; stranger: Sigstore; draft: Draft }> | undefined

function world(): NonNullable<typeof shared> {
  shared ??= (async () => ({
    sigstore: await makeSigstore(),
    stranger: await makeSigstore(),
    draft: await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }]),
  }))()
  return shared
}

/** What is said of the signature in `airgap verify b.tar --certificate-identity …`, and the way out. */
async function refusal(entries: readonly Entry[], trust: Partial<Trust> = {}): Promise<never> {
  const { sigstore } = await world()
  const path = await temporaryBundle(archiveOf(entries))
  const opened = await verifyBundle(path, {
    ...TRUST,
    keys: [],
    identities: [identityFrom({ identity: IDENTITY, issuer: ISSUER })],
    root: parseTrustedRoot(sigstore.trustedRoot, 'trusted_root.json'),
    ...trust,
  })
  await opened.reader.close()
  const { problems, hints: hint } = verificationError(path, opened)
  const said = problems.map(({ message }) => message).join('; ')
  throw new AirgapError('VERIFICATION_FAILED', said, { hint })
}

const signedWith =
  (options: SignOptions, trust: Partial<Trust> = {}, spell?: (json: Uint8Array) => Uint8Array) =>
  async (): Promise<never> => {
    const { sigstore, draft } = await world()
    return refusal(await certifiedEntries(draft, (sums) => sigstore.sign(sums, options), spell), trust)
  }

const RIGHT_ONES = [/Check that identity, issuer and trusted root are the right ones/]

export const CERTIFICATE_CASES: Case[] = [
  {
    name: 'a certificate of somebody else',
    provoke: signedWith({ identity: 'https://ci.example.internal/other' }),
    says: /^it was made by https:\/\/ci\.example\.internal\/other \(issuer \S+\), not by https:\/\/ci\.example\.internal\/release \(issuer \S+\)$/,
    hints: RIGHT_ONES,
  },
  {
    name: 'a certificate that somebody else has vouched for',
    provoke: signedWith({ issuer: 'https://login.example.com' }),
    says: /, as expected, but the issuer is https:\/\/login\.example\.com, not https:\/\/accounts\.example\.internal$/,
    hints: RIGHT_ONES,
  },
  {
    name: 'a signature by a key where a certificate is wanted',
    provoke: async () => refusal(entriesOf((await world()).draft)),
    says: /^it was made with a key, but a signature with a certificate is required$/,
    hints: [/signer's public key/],
  },
  {
    name: 'a signature by a certificate where a key is wanted',
    provoke: signedWith({}, { keys: [signer.publicKey], identities: [], root: undefined }),
    says: /^it was made with a certificate \(keyless signing\), but a signature by a key is required/,
    hints: [/--certificate-identity, --certificate-oidc-issuer and --trusted-root/],
  },
  {
    name: 'a log of another instance',
    provoke: async () => {
      const { stranger, draft } = await world()
      return refusal(await certifiedEntries(draft, (sums) => stranger.sign(sums)))
    },
    says: /^the log that it names \([0-9a-f]{64}\) is not in the trusted root \(trusted_root\.json\)$/,
    hints: [/fetch the trusted root again on the connected side/],
  },
  {
    name: 'a certificate authority of another instance',
    provoke: async () => {
      const { sigstore, stranger, draft } = await world()
      const [mine, theirs] = [sigstore, stranger].map(
        ({ trustedRoot }) => JSON.parse(trustedRoot.toString()) as Record<string, unknown>,
      )
      const mixed = { ...mine, certificateAuthorities: theirs?.['certificateAuthorities'] }
      return refusal(await certifiedEntries(draft, (sums) => sigstore.sign(sums)), {
        root: parseTrustedRoot(Buffer.from(JSON.stringify(mixed)), 'mixed.json'),
      })
    },
    says: /^its certificate was not issued by an authority that the trusted root has for that time \(mixed\.json\)$/,
    hints: [/fetch the trusted root again/],
  },
  {
    name: 'a log that was in use at another time',
    provoke: async () => {
      const { sigstore, draft } = await world()
      const json = JSON.parse(sigstore.trustedRoot.toString()) as {
        tlogs: { publicKey: { validFor: object } }[]
      }
      for (const { publicKey } of json.tlogs) {
        publicKey.validFor = { start: '2021-01-12T11:53:27Z', end: '2022-12-31T23:59:59Z' }
      }
      return refusal(await certifiedEntries(draft, (sums) => sigstore.sign(sums)), {
        root: parseTrustedRoot(Buffer.from(JSON.stringify(json)), 'older.json'),
      })
    },
    says: /^the log that it names was not in use when it was signed \(\S+\): the trusted root has it from 2021-01-12T11:53:27Z to 2022-12-31T23:59:59Z$/,
    hints: RIGHT_ONES,
  },
  {
    name: 'a certificate that had expired',
    provoke: signedWith({ minutesLater: 30 }),
    says: /^the certificate had expired at the time of signing: it was valid from /,
    hints: RIGHT_ONES,
  },
  {
    name: 'nobody who vouches for the time',
    provoke: signedWith({ withoutPromise: true }),
    says: /^nothing proves when it was made: /,
    hints: RIGHT_ONES,
  },
  {
    name: 'no log entry',
    provoke: signedWith({ withoutLog: true, withTimestamp: true }),
    says: /^it has no entry in a transparency log, but one is required$/,
    hints: RIGHT_ONES,
  },
  {
    name: 'the log entry of something else',
    provoke: signedWith({ entryOf: Buffer.from('something else') }),
    says: /^its log entry is for another signature or another artifact$/,
    hints: RIGHT_ONES,
  },
  {
    name: 'a signature that another program has written anew',
    provoke: signedWith({}, {}, (json) => json),
    says: /not in the exact form that airgap writes: it has been altered$/,
    hints: [/Do not use it/],
  },
  {
    name: 'a trusted root that is none',
    provoke: async () => parseTrustedRoot(Buffer.from('{"signed":{}}'), 'root.json'),
    says: /^root\.json is not a trusted root of Sigstore$/,
    hints: [/airgap trust-root fetch/],
  },
  {
    name: 'a trusted root that does not say since when a log is valid',
    provoke: async () => {
      const { sigstore } = await world()
      const text = sigstore.trustedRoot.toString().replace(/"start": "[^"]*"/, '')
      return parseTrustedRoot(Buffer.from(text), 'root.json')
    },
    says: /^root\.json cannot be read as a trusted root of Sigstore: tlogs\.0\.publicKey\.validFor: it has no start$/,
    hints: [/since when it is valid \(validFor, with a start\)/],
  },
  {
    name: 'a pattern that is none',
    provoke: async () => fully('release(', 'identity'),
    says: /^the pattern of the identity is not a regular expression: \/release\(\/$/,
    hints: [/quoted for the shell/],
  },
]
