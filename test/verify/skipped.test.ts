import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import type { BundleDescription, SkippedImage } from '../../src/bundle/description.ts'
import { parseDescription, serializeDescription } from '../../src/bundle/description.ts'
import { isReason, reasonOf } from '../../src/bundle/skipped.ts'
import { evidenceOf, renderEvidence } from '../../src/cli/output/render-evidence.ts'
import { openBundle } from '../../src/verify/open.ts'
import { parseLock, serializeLock, type Lock } from '../../src/pack/lock.ts'
import { anyText } from '../support/any-text.ts'
import { bundleOf, draftOf, signer, temporaryBundle } from '../support/build-bundle.ts'
import { expectRefusal, problemsOf } from './check-bundle.ts'

const GONE: SkippedImage = {
  source: 'example.test/gone:1',
  code: 'NOT_FOUND',
  message: 'there is no such thing',
}

async function described(skipped: unknown): Promise<BundleDescription> {
  const { description } = await draftOf([{ source: 'example.test/app:1', built: await singleManifest() }])
  return { ...description, skipped: skipped as SkippedImage[] }
}

async function bundleWith(skipped: unknown): Promise<Buffer> {
  const built = await singleManifest()
  return bundleOf(
    await draftOf([{ source: 'example.test/app:1', built }], { skipped: skipped as SkippedImage[] }),
  )
}

describe('what was left out', () => {
  test('stands in a good bundle, and is shown', async () => {
    const hostile = { ...GONE, message: 'no\u202esuch \u00adthing' }
    const bytes = await bundleWith([hostile])
    expect(await problemsOf(bytes)).toEqual([])
    const opened = await openBundle(await temporaryBundle(bytes), {
      keys: [signer.publicKey],
      unauthenticated: false,
      now: 0,
    })
    await opened.reader.close()
    const evidence = evidenceOf(opened, opened.description!, true)
    expect(evidence.skipped).toEqual([hostile])
    const screen = renderEvidence(evidence, { details: false })
    expect(screen).toContain('1 (listed above)')
    expect(screen).toContain('left out: example.test/gone:1\n    because no\\u{202e}such \\u{ad}thing')
  })

  test.each<[what: string, skipped: unknown, words: RegExp]>([
    ['an empty list', [], /must not be empty/],
    ['no list', GONE, /skipped/],
    ['null', null, /skipped/],
    ['a name that is not whole', [{ ...GONE, source: 'gone' }], /fully qualified/],
    ['no code', [{ ...GONE, code: '' }], /code of an error/],
    ['words as a code', [{ ...GONE, code: 'not found' }], /code of an error/],
    ['no message', [{ source: GONE.source, code: GONE.code }], /message/],
    ['an empty message', [{ ...GONE, message: '' }], /one line/],
    ['two lines', [{ ...GONE, message: 'gone\nverdict GOOD' }], /one line/],
    ['control codes', [{ ...GONE, message: 'gone\u001b[2J' }], /one line/],
    ['a line separator', [{ ...GONE, message: 'gone\u2028GOOD' }], /one line/],
    ['a message without end', [{ ...GONE, message: 'x'.repeat(1001) }], /one line/],
    ['one image twice', [GONE, GONE], /sorted/],
    ['another order', [GONE, { ...GONE, source: 'example.test/a:1' }], /sorted/],
    ['a key in another case', [{ ...GONE, Message: 'x' }], /differs only in case/],
    ['an image that is there', [{ ...GONE, source: 'example.test/app:1' }], /is among the images/],
  ])('%s is refused, in a bundle and in a lock', async (_, skipped, words) => {
    await expectRefusal(await bundleWith(skipped), 'airgap.json', words)
    const { platforms, images } = await described(skipped)
    const lock = { type: 'dev.airgap.lock', formatVersion: '1.0', platforms, images, skipped } as Lock
    expect(() => parseLock(serializeLock(lock), 'a.lock')).toThrow(words)
  })

  test('codes and fields of later releases are let pass', async () => {
    const later = [{ ...GONE, code: 'SOMETHING_NEW', since: 'tomorrow' }]
    expect(await problemsOf(await bundleWith(later))).toEqual([])
  })

  test('without it, a description is spelled as before', async () => {
    const { skipped: _, ...description } = await described([GONE])
    const bytes = serializeDescription(description)
    expect(bytes.toString()).not.toContain('skipped')
    expect(serializeDescription({ ...description, skipped: undefined })).toEqual(bytes)
    expect(parseDescription(bytes)).toEqual(description)
  })
})

test('any message becomes a reason that the reader takes, and keeps its words', () => {
  const parts = fc.constantFrom('word', ' ', '\n', '\ud83d', '\ude00', '😀', '\u0000', '\u202e', '\u2028')
  const texts = fc.oneof(
    anyText({ maxLength: 30 }),
    fc
      .tuple(fc.array(parts, { maxLength: 10 }), fc.integer({ min: 1, max: 300 }))
      .map(([all, times]) => all.join('').repeat(times)),
  )
  fc.assert(
    fc.property(texts, (text) => {
      const reason = reasonOf(text)
      expect(reason.isWellFormed()).toBe(true)
      if (reason !== '') expect(isReason(reason)).toBe(true)
      if (/^[a-z ]{1,900}$/.test(text.trim())) expect(reason).toBe(text.trim().replaceAll(/ +/g, ' '))
    }),
  )
  expect(reasonOf('a\r\nb\tc')).toBe('a b c')
  expect(reasonOf(`${'x'.repeat(998)}😀😀`)).toBe(`${'x'.repeat(998)}…`)
})
