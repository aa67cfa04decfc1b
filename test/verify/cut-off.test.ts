import { describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { blobName } from '../../src/bundle/names.ts'
import { BLOCK, encodeHeader } from '../../src/bundle/tar.ts'
import { AirgapError, verify } from '../../src/index.ts'
import { openBundle } from '../../src/verify/open.ts'
import { verificationError } from '../../src/verify/content.ts'
import { archiveOf, draftOf, entriesOf, newSigner, signer, temporaryBundle } from '../support/build-bundle.ts'
import { TRUST } from './check-bundle.ts'

async function errorOf(bytes: Uint8Array, keys = [signer.publicKey]): Promise<AirgapError> {
  const error = await verify(await temporaryBundle(bytes), { keys }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(AirgapError)
  expect((error as AirgapError).exitCode).toBe(3)
  return error as AirgapError
}

const SOURCE = 'example.test/app:1.0'

async function honest(): Promise<{ bytes: Buffer; layers: Buffer }> {
  const entries = entriesOf(await draftOf([{ source: SOURCE, built: await singleManifest() }]))
  const all = archiveOf(entries)
  return { bytes: all, layers: entries.at(-1)!.content as Buffer }
}

describe('a file that was not copied whole', () => {
  test('says first how much is there, and of how much, wherever in the layers it ends', async () => {
    const { bytes, layers } = await honest()
    for (const end of [
      bytes.length - 1,
      bytes.length - 2 * BLOCK,
      bytes.length - 2 * BLOCK - layers.length,
    ]) {
      const { message, problems, hint } = await errorOf(bytes.subarray(0, end))
      const [there, whole] = [end, bytes.length].map((size) => size.toLocaleString('en-US'))
      expect(message).toContain(`is cut off: it has ${there} of ${whole} bytes`)
      expect(problems).toEqual([expect.objectContaining({ kind: 'cut-off' })])
      expect(hint).toMatch(/^Copy it again: .*Then verify the copy\.$/)
    }
  })

  test('one problem, whatever is missing; without the size where the manifests are missing, too', async () => {
    const { bytes } = await honest()
    // Every odd place: in headers, lists, documents and layers.
    for (let end = 0; end < bytes.length; end += 3 * BLOCK + 77) {
      const { message, problems } = await errorOf(bytes.subarray(0, end))
      expect(problems, `cut to ${end}`).toEqual([expect.objectContaining({ kind: 'cut-off' })])
      expect(message).toMatch(
        end === 0
          ? /has nothing in it$/
          : end < 10
            ? /it does not begin/
            : /is cut off: it (?:ends after|has [\d,]+ of) [\d,]+ bytes(?:, and \d+ of \d+ entries are missing or incomplete)?$/,
      )
    }
  })

  test('zeros from some byte on are what a medium shows that was pulled out', async () => {
    const { bytes, layers } = await honest()
    const begin = bytes.length - 2 * BLOCK - Math.ceil(layers.length / BLOCK) * BLOCK
    const zeroed = Buffer.concat([
      bytes.subarray(0, begin - BLOCK),
      Buffer.alloc(bytes.length - begin + BLOCK),
    ])
    const { message, problems } = await errorOf(zeroed)
    expect(message).toMatch(/is cut off: it has [\d,]+ of [\d,]+ bytes, and 1 of \d+ entries/)
    expect(problems).toEqual([expect.objectContaining({ kind: 'cut-off' })])
    const inside = Buffer.concat([bytes.subarray(0, begin + 1), Buffer.alloc(bytes.length - begin - 1)])
    expect((await errorOf(inside)).problems).not.toEqual([])
    expect((await errorOf(Buffer.alloc(20_000))).message).toMatch(/has nothing in it$/)
  })

  test('what was altered besides is said, with its image', async () => {
    const draft = await draftOf([
      { source: SOURCE, built: await singleManifest() },
      { source: 'example.test/other:1', built: await singleManifest() },
    ])
    const entries = entriesOf(draft)
    const last = entries.at(-2)!
    const content = Buffer.from(last.content)
    content[0] = (content[0] ?? 0) ^ 1
    const altered = archiveOf(entries.with(entries.length - 2, { ...last, content }))
    const { message, problems, hint } = await errorOf(altered.subarray(0, altered.length - 2 * BLOCK - 1))
    expect(message).toMatch(/is cut off: .*\. It also has 1 other problem$/)
    expect(problems).toContainEqual({
      entry: last.name,
      message: expect.stringMatching(
        /^its content has been altered: .*\. It belongs to example\.test\/app:1\.0 and 1 other image$/,
      ) as string,
    })
    expect(hint).toMatch(/see whether the other problems remain/)
  })

  test('a header that claims more than there is, is not taken for a copy that is short', async () => {
    const entries = entriesOf(await draftOf([{ source: SOURCE, built: await singleManifest() }]))
    const last = entries.at(-1)!
    const { message, problems } = await errorOf(
      archiveOf(entries.with(entries.length - 1, { ...last, header: encodeHeader(last.name, 2 ** 30) })),
    )
    expect(message).toMatch(/is not a good bundle: 1 problem$/)
    expect(problems).toMatchObject([{ entry: last.name }])
  })

  test('FAT32 is named where the bundle is too large for it', async () => {
    const { bytes } = await honest()
    const opened = await openBundle(await temporaryBundle(bytes.subarray(0, -BLOCK)), { ...TRUST })
    await opened.reader.close()
    const large = { ...opened, cutOff: { there: 2 ** 32 - 1, whole: 5 * 2 ** 30, missing: 1, entries: 9 } }
    expect(verificationError('x.tar', large).hint).toMatch(/FAT32/)
    expect(verificationError('x.tar', opened).hint).not.toMatch(/FAT32/)
  })
})

describe('whose it is', () => {
  test('another key is named, and nothing is said to be wrong with the bundle', async () => {
    const { bytes } = await honest()
    const [mine, other] = [newSigner('mine.pub'), newSigner('other.pub')]
    const one = await errorOf(bytes, [mine.publicKey])
    expect(one.message).toMatch(
      new RegExp(`is signed by another key than the one given: ${signer.publicKey.fingerprint}$`),
    )
    expect(one.hint).toMatch(/get its public key, by another way than the bundle/)
    expect(one.problems[0]?.message).toContain(mine.publicKey.fingerprint)
    const two = await errorOf(bytes, [mine.publicKey, other.publicKey])
    expect(two.message).toContain('is signed by another key than those given: ')
  })

  test('a list that was altered under a good signature is not somebody else’s', async () => {
    const { bytes } = await honest()
    const altered = Buffer.from(bytes)
    altered[BLOCK] = (altered[BLOCK] ?? 0) ^ 1
    expect((await errorOf(altered, [newSigner().publicKey])).message).toContain('is not a good bundle')
    expect((await errorOf(altered)).message).toContain('is not a good bundle')
  })

  test('an unsigned one is said to be that; one that is not expected, too', async () => {
    const draft = await draftOf([{ source: SOURCE, built: await singleManifest() }])
    const entries = entriesOf(draft).filter(({ name }) => !name.startsWith('SHA256SUMS.'))
    expect((await errorOf(archiveOf(entries))).message).toMatch(/is not signed$/)
    const path = await temporaryBundle((await honest()).bytes)
    await expect(verify(path, { keys: [signer.publicKey], minSequence: 99 })).rejects.toMatchObject({
      message: `${path} is not the expected bundle: 1 problem`,
    })
  })

  test('a blob that is missing from the list says which image needs it', async () => {
    const draft = await draftOf([{ source: SOURCE, built: await singleManifest() }])
    const ghost = [...draft.blobs.keys()].at(-1)!
    draft.blobs.delete(ghost)
    const { problems } = await errorOf(archiveOf(entriesOf(draft)))
    expect(problems).toContainEqual({
      entry: blobName(ghost),
      message: `it is needed, but the bundle does not have it. It belongs to ${SOURCE}`,
    })
  })
})
