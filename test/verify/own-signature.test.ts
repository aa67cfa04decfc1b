import { beforeAll, describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { CHECKSUMS, RAW_SIGNATURE, SIGSTORE_SIGNATURE } from '../../src/bundle/names.ts'
import type { Trust } from '../../src/verify/authenticate.ts'
import { parseDetachedSignature } from '../../src/trust/detached.ts'
import { identityFrom } from '../../src/trust/identity/identity.ts'
import { parseTrustedRoot } from '../../src/trust/identity/trusted-root.ts'
import { CERTIFICATE_BUNDLE_SIZE } from '../../src/trust/keyless/spelling.ts'
import { archiveOf, draftOf, entriesOf, newSigner, signedBy, type Entry } from '../support/build-bundle.ts'
import { certifiedEntries } from '../trust/certified-bundle.ts'
import { policyOf } from '../trust/policy/policies.ts'
import { IDENTITY, ISSUER, makeSigstore } from '../trust/sigstore.ts'
import { expectRefusal, problemsOf } from './check-bundle.ts'

const [packer, approver] = [newSigner('packer.pub'), newSigner('approver.pub')] as const
const PEM = approver.publicKey.keyObject.export({ type: 'spki', format: 'pem' }).toString()

let draft: Awaited<ReturnType<typeof draftOf>>
let all: Entry[]
let trusts: Partial<Trust>[]
beforeAll(async () => {
  draft = await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }])
  all = entriesOf(draft, packer)
  const list = contentOf(CHECKSUMS)
  const signatures = [
    { file: 'beside', signature: parseDetachedSignature(signedBy(approver, list).bundleJson, 'beside') },
  ]
  const keys = [approver.publicKey]
  const policy = await policyOf({ signers: { approver: { keys: [{ pem: PEM }] } } })
  trusts = [
    { keys, signatures },
    { keys, signatures, policy },
  ]
})

function contentOf(name: string): Buffer {
  return Buffer.from(all.find((one) => one.name === name)?.content ?? '')
}

function withContent(name: string, content: Uint8Array | string): Buffer {
  return archiveOf(all.map((one) => (one.name === name ? { name, content: Buffer.from(content) } : one)))
}

describe("a bundle's own signature by a stranger, with a good one beside it", () => {
  test('is let pass as long as it is one over this list', async () => {
    const certified = await certifiedEntries(draft, async (list) => (await makeSigstore()).sign(list))
    for (const trust of trusts) {
      expect(await problemsOf(archiveOf(all), trust)).toEqual([])
      expect(await problemsOf(archiveOf(certified), trust)).toEqual([])
    }
  })

  test('is refused where it is none: the file is not what anybody has written', async () => {
    const other = signedBy(packer, Buffer.from('other')).bundleJson
    for (const trust of trusts) {
      await expectRefusal(withContent(SIGSTORE_SIGNATURE, 'rubbish'), SIGSTORE_SIGNATURE, 'not JSON', trust)
      await expectRefusal(withContent(RAW_SIGNATURE, 'rubbish'), RAW_SIGNATURE, 'is not the signature', trust)
      const withoutRaw = archiveOf(all.filter(({ name }) => name !== RAW_SIGNATURE))
      await expectRefusal(withoutRaw, RAW_SIGNATURE, 'is not the signature', trust)
      await expectRefusal(
        withContent(SIGSTORE_SIGNATURE, other),
        SIGSTORE_SIGNATURE,
        'it is not over this',
        trust,
      )
    }
  })
})

test('[attack: respelled-signature] a good one by a certificate under the name of another version is refused', async () => {
  const sigstore = await makeSigstore()
  const trust = {
    keys: [],
    identities: [identityFrom({ identity: IDENTITY, issuer: ISSUER })],
    root: parseTrustedRoot(sigstore.trustedRoot, 'trusted_root.json'),
  }
  const padded = (json: Uint8Array): Buffer => {
    const spelled = Buffer.alloc(CERTIFICATE_BUNDLE_SIZE, ' ')
    spelled.set(Buffer.from(JSON.stringify(JSON.parse(Buffer.from(json).toString()))))
    spelled.write('\n', CERTIFICATE_BUNDLE_SIZE - 1)
    return spelled
  }
  const bundleOf = async (mediaType?: string): Promise<Buffer> => {
    const change = (bundle: { mediaType: string }): void => {
      if (mediaType !== undefined) bundle.mediaType = mediaType
    }
    return archiveOf(
      await certifiedEntries(
        draft,
        async (list) => sigstore.sign(list, { v01: mediaType?.endsWith('0.1') === true, change }),
        padded,
      ),
    )
  }
  expect(await problemsOf(await bundleOf(), trust)).toEqual([])
  for (const version of ['0.1', '0.2', '0.3']) {
    await expectRefusal(
      await bundleOf(`application/vnd.dev.sigstore.bundle+json;version=${version}`),
      SIGSTORE_SIGNATURE,
      'not in the exact form that airgap writes',
      trust,
    )
  }
})
