import { appendFile, open, truncate } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { helmChart, singleManifest } from '../../fixtures/images/index.ts'
import { formatChecksums } from '../../src/bundle/checksums.ts'
import {
  blobName,
  CHECKSUMS,
  MAX_CHECKSUMS,
  MAX_RAW_SIGNATURE,
  MAX_SIGSTORE_SIGNATURE,
  RAW_SIGNATURE,
  SIGSTORE_SIGNATURE,
} from '../../src/bundle/names.ts'
import { BLOCK, encodeHeader, END_SIZE } from '../../src/bundle/tar.ts'
import { digestOf } from '../../src/oci/digest.ts'
import {
  archiveOf,
  contentEntries,
  draftOf,
  entriesOf,
  entry,
  patchHeader,
  signEntries,
  temporaryBundle,
  type Draft,
  type Entry,
} from '../support/build-bundle.ts'
import { expectRefusal, problemsAt, problemsOf } from './check-bundle.ts'

const SOURCE = 'example.test/app:1.0'

async function draft(): Promise<Draft> {
  return draftOf([
    { source: SOURCE, built: await singleManifest() },
    { source: 'example.test/chart:1', built: await helmChart() },
  ])
}

async function honest(): Promise<Entry[]> {
  return entriesOf(await draft())
}

function at(entries: readonly Entry[], index: number): Entry {
  const found = entries.at(index)
  if (!found) throw new Error(`no entry ${index}`)
  return found
}

function indexOf(entries: readonly Entry[], name: string): number {
  const index = entries.findIndex((one) => one.name === name)
  if (index < 0) throw new Error(`no entry ${name}`)
  return index
}

describe('after signing', () => {
  test('[duty: tar-entries] an entry added before, between, behind the others', async () => {
    const entries = await honest()
    const digest = digestOf('evil')
    for (const [place, added] of [
      [3, entry('evil.sh', 'evil')],
      [entries.length, entry(blobName(digest), 'evil')],
      [entries.length, entry('blobs/sha256/../../etc/passwd', 'evil')],
      [entries.length, entry('/etc/passwd', 'evil')],
      [entries.length, entry('../escape', 'evil')],
      [5, entry('AIRGAP.json', '{}')],
    ] as const) {
      await expectRefusal(
        archiveOf(entries.toSpliced(place, 0, added)),
        added.name,
        'it is not listed in SHA256SUMS',
      )
    }
    const first = entry('evil.sh', 'evil')
    await expectRefusal(archiveOf([first, ...entries]), CHECKSUMS, 'it does not begin like one')
  })

  test('each entry removed', async () => {
    const entries = await honest()
    for (const [i, { name }] of entries.entries()) {
      const bytes = archiveOf(entries.toSpliced(i, 1))
      if (name === CHECKSUMS) await expectRefusal(bytes, CHECKSUMS, 'the first entry is not SHA256SUMS')
      else if (name === SIGSTORE_SIGNATURE)
        await expectRefusal(bytes, SIGSTORE_SIGNATURE, 'the bundle is not signed')
      else if (name === RAW_SIGNATURE) await expectRefusal(bytes, RAW_SIGNATURE, 'it is missing')
      else await expectRefusal(bytes, name, 'it is listed in SHA256SUMS, but is not in the archive')
    }
  })

  test('each entry renamed', async () => {
    const entries = await honest()
    for (const [i, one] of entries.entries()) {
      if (i < 3) continue
      const renamed = { ...one, name: `${one.name.slice(0, -1)}_` }
      const bytes = archiveOf(entries.with(i, renamed))
      await expectRefusal(bytes, one.name, 'it is listed in SHA256SUMS, but is not in the archive')
      await expectRefusal(bytes, renamed.name, 'it is not listed in SHA256SUMS')
    }
  })

  test('[duty: tar-entries] each entry repeated, at once and at the end, with its own and with other content', async () => {
    const entries = await honest()
    for (const [i, one] of entries.entries()) {
      for (const again of [one, entry(one.name, 'evil')]) {
        await expectRefusal(archiveOf([...entries, again]), one.name, 'it occurs twice in the archive')
        const bytes = archiveOf(entries.toSpliced(i + 1, 0, again))
        if (i > 2) await expectRefusal(bytes, one.name, 'it occurs twice in the archive')
        else expect(await problemsOf(bytes)).not.toEqual([])
      }
    }
  })

  test('any two entries exchanged', async () => {
    const entries = await honest()
    for (let i = 0; i < entries.length; i += 1) {
      for (let j = i + 1; j < entries.length; j += 1) {
        const swapped = entries.with(i, at(entries, j)).with(j, at(entries, i))
        const problems = await problemsOf(archiveOf(swapped))
        expect(problems, `${i} and ${j}`).not.toEqual([])
        if (i > 6) {
          const message = 'it is out of order'
          expect(problems).toContainEqual({ entry: at(swapped, i).name, message })
        } else if (i > 2) {
          expect(problems).toContainEqual({
            entry: at(swapped, i).name,
            message: `it is out of order: ${at(entries, i).name} belongs here`,
          })
        }
      }
    }
  })

  test('each content altered, with its length kept and changed', async () => {
    const entries = await honest()
    for (const [i, one] of entries.entries()) {
      if (i < 3) continue
      const changed = Buffer.from(one.content)
      changed[0] = (changed[0] ?? 0) ^ 1
      await expectRefusal(
        archiveOf(entries.with(i, { ...one, content: changed })),
        one.name,
        'its content has been altered',
      )
      const longer = Buffer.concat([one.content, Buffer.from(' ')])
      const problems = await problemsOf(archiveOf(entries.with(i, { ...one, content: longer })))
      expect(problems.map((problem) => problem.entry)).toContain(one.name)
    }
  })
})

describe('the frame of the archive', () => {
  test('trailing data, of zeros too', async () => {
    const entries = await honest()
    for (const [tail, count] of [
      [Buffer.from('x'), 1],
      [Buffer.alloc(1), 1],
      [Buffer.alloc(BLOCK), BLOCK],
      [Buffer.alloc(8 * 1024), 8 * 1024],
      [archiveOf(await honest()), undefined],
    ] as const) {
      const bytes = archiveOf(entries, Buffer.concat([Buffer.alloc(END_SIZE), tail]))
      await expectRefusal(bytes, 'end of the archive', `${count ?? tail.length} bytes follow after the end`)
    }
  })

  test('one zero block, none, and a part of one', async () => {
    const entries = await honest()
    const last = `the header after ${at(entries, -1).name}`
    await expectRefusal(
      archiveOf(entries, Buffer.alloc(BLOCK)),
      'end of the archive',
      '512 bytes of the end mark are missing',
    )
    await expectRefusal(
      archiveOf(entries, Buffer.alloc(END_SIZE - 1)),
      'end of the archive',
      '1 bytes of the end mark are missing',
    )
    await expectRefusal(
      archiveOf(entries, Buffer.alloc(0)),
      last,
      'the archive ends here, without its end mark',
    )
    await expectRefusal(
      archiveOf(entries, Buffer.alloc(100)),
      last,
      'the archive ends in the middle of a header',
    )
  })

  test('a zero block between entries, behind which some programs go on', async () => {
    const entries = await honest()
    const hidden = {
      name: '',
      content: Buffer.alloc(0),
      header: Buffer.alloc(BLOCK),
      padding: Buffer.alloc(0),
    }
    const bytes = archiveOf([...entries, hidden, entry('evil.sh', 'evil')])
    await expectRefusal(bytes, 'end of the archive', 'the end mark is not two zero blocks')
  })

  test('padding that is not zero, behind each entry', async () => {
    const entries = await honest()
    for (const [i, one] of entries.entries()) {
      const length = (BLOCK - (one.content.length % BLOCK)) % BLOCK
      if (length === 0) continue
      for (const place of [0, length - 1]) {
        const padding = Buffer.alloc(length)
        padding[place] = 1
        await expectRefusal(
          archiveOf(entries.with(i, { ...one, padding })),
          one.name,
          'the padding after it is not zero',
        )
      }
    }
  })

  test('[duty: one-tar] headers that another tar program would read otherwise, for each kind of entry', async () => {
    const entries = await honest()
    const changes: [number, string, RegExp][] = [
      [156, '2', /is not the one that airgap writes \(it is a symbolic link\)/],
      [156, '5', /it is a folder/],
      [156, 'L', /it is a GNU long name/],
      [156, '\0', /its bytes differ/],
      [100, '0000755\0', /its mode is not 0644/],
      [345, '../..', /its bytes differ/],
    ]
    for (const [i, one] of entries.entries()) {
      for (const [place, text, reason] of changes) {
        const header = patchHeader(encodeHeader(one.name, one.content.length), place, text)
        const where =
          i === 0 || i === 1 || i === 2 ? CHECKSUMS : `the header after ${at(entries, i - 1).name}`
        await expectRefusal(archiveOf(entries.with(i, { ...one, header })), where, reason)
      }
    }
  })

  test('[duty: one-tar] pax headers that say another name, a sparse file, or global values', async () => {
    const entries = await honest()
    for (const [type, records] of [
      ['x', '30 GNU.sparse.name=airgap.json\n'],
      ['x', '22 GNU.sparse.major=1\n'],
      ['x', '19 path=airgap.json\n'],
      ['x', '19 size=8589934592\n'],
      ['g', '19 path=airgap.json\n'],
      ['L', 'airgap.json\0'],
    ] as const) {
      const body = Buffer.alloc(BLOCK)
      body.write(records, 'latin1')
      const header = patchHeader(encodeHeader('PaxHeaders/x', records.length), 156, type)
      for (const i of [1, 3, entries.length - 1]) {
        const one = at(entries, i)
        const combined = Buffer.concat([header, body, encodeHeader(one.name, one.content.length)])
        const problems = await problemsOf(archiveOf(entries.with(i, { ...one, header: combined })))
        expect(problems.map(({ message }) => message).join()).toMatch(/not (?:the )?one that airgap writes/)
      }
    }
  })

  test('[duty: tar-entries] an entry that claims more than the file has', async () => {
    const entries = await honest()
    const last = at(entries, -1)
    for (const size of [1024 ** 2, 8 * 1024 ** 3, Number.MAX_SAFE_INTEGER]) {
      const bytes = archiveOf(
        entries.with(entries.length - 1, { ...last, header: encodeHeader(last.name, size) }),
      )
      await expectRefusal(bytes, last.name, /the file is cut off: \d+ bytes of this entry/)
    }
    for (const [i, size] of [
      [0, 32 * 1024 ** 2],
      [1, 1024 ** 2],
      [2, 4096],
    ] as const) {
      const one = at(entries, i)
      const bytes = archiveOf(entries.with(i, { ...one, header: encodeHeader(one.name, size) }))
      expect((await problemsOf(bytes)).map(({ message }) => message).join()).toContain(
        i === 2 ? '' : 'the file is cut off',
      )
      expect(await problemsOf(bytes)).not.toEqual([])
    }
  })

  test('more entries than listed are not all held in memory', async () => {
    const entries = await honest()
    const more = Array.from({ length: 1000 }, (_, i) => entry(`more/${i}`, ''))
    const problems = await expectRefusal(archiveOf([...entries, ...more]), 'the archive', 'too many faults')
    expect(problems.length).toBeLessThan(300)
  })

  test('no bundle at all', async () => {
    await expectRefusal(Buffer.alloc(0), CHECKSUMS, 'the file is empty')
    await expectRefusal(Buffer.alloc(10 * 1024), CHECKSUMS, 'the file holds only zeros')
    await expectRefusal(Buffer.alloc(10 * 1024, 1), CHECKSUMS, 'it does not begin like one')
    await expectRefusal(Buffer.from('\x1f\x8b'.repeat(1000), 'latin1'), CHECKSUMS, 'compressed with gzip')
    await expectRefusal(Buffer.from('\x28\xb5\x2f\xfd', 'latin1'), CHECKSUMS, 'compressed with zstd')
    await expectRefusal(archiveOf([entry('oci-layout', '{}')]), CHECKSUMS, 'is not an airgap bundle')
    await expectRefusal(Buffer.from(CHECKSUMS), CHECKSUMS, 'ends in the middle of a header')
  })
})

describe('the list, signed', () => {
  test('lists what is not there, or does not list what is', async () => {
    const content = contentEntries(await draft())
    const list = content.map(({ name, content: bytes }) => [name, digestOf(bytes)] as const)
    const ghost = digestOf('ghost')
    const longer = formatChecksums([...list, [blobName(ghost), ghost]])
    await expectRefusal(
      archiveOf(signEntries(content, undefined, longer)),
      blobName(ghost),
      'but is not in the archive',
    )
    const shorter = formatChecksums(list.slice(0, -1))
    await expectRefusal(
      archiveOf(signEntries(content, undefined, shorter)),
      at(content, -1).name,
      'it is not listed',
    )
    for (const name of ['airgap.json', 'oci-layout', 'index.json', 'manifest.json']) {
      const left = content.filter((one) => one.name !== name)
      await expectRefusal(
        archiveOf(signEntries(left)),
        name,
        /does not list it, but every bundle has to have it|it is missing/,
      )
    }
  })

  test('breaks its grammar', async () => {
    const content = contentEntries(await draft())
    const good = formatChecksums(
      content.map(({ name, content: bytes }) => [name, digestOf(bytes)]),
    ).toString()
    const lines = good.trimEnd().split('\n')
    for (const [bad, reason] of [
      [good.replaceAll('  ', ' *'), 'line 1: it is not 64 digits'],
      [good.replaceAll('\n', '\r\n'), 'line 1: it is not 64 digits'],
      [`${lines.toReversed().join('\n')}\n`, 'out of order'],
      [`${good}${lines.at(-1)}\n`, 'is listed twice'],
      [good.trimEnd(), 'the last line has no end'],
      [`${good}${'f'.repeat(64)}  ../../etc/passwd\n`, 'is not an entry of a bundle'],
      ['', 'the list is empty'],
    ] as const) {
      await expectRefusal(archiveOf(signEntries(content, undefined, Buffer.from(bad))), CHECKSUMS, reason)
    }
  })
})

describe('sizes beyond the caps are refused unread', () => {
  test.each([
    [CHECKSUMS, 0, MAX_CHECKSUMS],
    [SIGSTORE_SIGNATURE, 1, MAX_SIGSTORE_SIGNATURE],
    [RAW_SIGNATURE, 2, MAX_RAW_SIGNATURE],
  ])('%s', async (name, i, cap) => {
    const entries = await honest()
    const before = archiveOf(entries.slice(0, i), Buffer.alloc(0))
    // A sparse file: 64 MiB and more that take no space.
    const path = await temporaryBundle(Buffer.concat([before, encodeHeader(name, cap + 1)]))
    await truncate(path, before.length + BLOCK + cap + 1 + 10 * BLOCK)
    expect(await problemsAt(path)).toEqual([
      { entry: CHECKSUMS, message: `${name} has ${cap + 1} bytes, but at most ${cap} are allowed` },
    ])
  })

  test('a manifest and a description', async () => {
    const one = await draft()
    const big = Buffer.alloc(8 * 1024 ** 2 + 1, ' ')
    const [image] = one.description.images
    if (!image) throw new Error('no image')
    one.blobs.delete(image.digest)
    image.digest = digestOf(big)
    image.sourceDigest = image.digest
    one.blobs.set(image.digest, { bytes: big, first: true })
    await expectRefusal(
      archiveOf(entriesOf(one)),
      blobName(image.digest),
      '8388609 bytes, but at most 8388608 are allowed',
    )

    const content = contentEntries(await draft())
    const huge = 64 * 1024 ** 2 + 512
    const i = indexOf(content, 'airgap.json')
    const listed = formatChecksums(content.map(({ name, content: bytes }) => [name, digestOf(bytes)]))
    const entries = signEntries(content, undefined, listed)
    const before = archiveOf(entries.slice(0, i + 3), Buffer.alloc(0))
    const path = await temporaryBundle(Buffer.concat([before, encodeHeader('airgap.json', huge)]))
    await truncate(path, before.length + BLOCK + huge)
    await appendFile(path, archiveOf(content.slice(i + 1)))
    expect(await problemsAt(path)).toContainEqual({
      entry: 'airgap.json',
      message: `airgap.json has ${huge} bytes, but at most ${64 * 1024 ** 2} are allowed`,
    })
  })
})

test('a bundle of which a part is lost while it is read is an error that names the file', async () => {
  const entries = await honest()
  const path = await temporaryBundle(archiveOf(entries))
  const { BundleReader } = await import('../../src/bundle/reader.ts')
  const reader = await BundleReader.open(path)
  const { entries: found } = await reader.scan(entries.length)
  const handle = await open(path, 'r+')
  await handle.truncate(2 * BLOCK)
  await handle.close()
  const last = found.at(-1)
  if (!last) throw new Error('nothing found')
  await expect(reader.stream(last).next()).rejects.toMatchObject({
    code: 'INVALID_CONTENT',
    message: `${path} became shorter while it was read`,
  })
  await reader.close()
})
