import fc from 'fast-check'
import { Readable } from 'node:stream'
import { extract } from 'tar-stream'
import { describe, expect, test } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import {
  BLOCK,
  decodeHeader,
  encodeHeader,
  entryLength,
  headerLength,
  paddingLength,
} from '../../src/bundle/tar.ts'
import { archiveOf, entry, patchHeader } from '../support/build-bundle.ts'

const GIB = 1024 ** 3

const name = fc.oneof(
  fc.stringMatching(/^[a-zA-Z0-9._/-]{1,89}$/),
  fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `blobs/sha256/${hex}`),
)
const size = fc.oneof(
  fc.nat(10_000),
  fc.integer({ min: 8 * GIB - 5, max: 8 * GIB + 5 }),
  fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
)

/** The reason why a header is refused. */
function refusal(bytes: Uint8Array): string {
  try {
    const header = decodeHeader(bytes)
    return `accepted as ${JSON.stringify(header)}`
  } catch (error) {
    expect(error).toBeInstanceOf(AirgapError)
    expect((error as AirgapError).code).toBe('INVALID_CONTENT')
    return (error as AirgapError).message
  }
}

describe('headers', () => {
  test('are read as they were written, for every name and size', () => {
    fc.assert(
      fc.property(name, size, (aName, aSize) => {
        const header = encodeHeader(aName, aSize)
        expect(header.length).toBe(headerLength(aSize))
        expect(decodeHeader(header)).toEqual({ name: aName, size: aSize, headerLength: header.length })
        expect(entryLength(aSize) % BLOCK).toBe(0)
        expect(entryLength(aSize)).toBe(header.length + aSize + paddingLength(aSize))
      }),
    )
  })

  test('take one block below 8 GiB, three from there on', () => {
    expect(encodeHeader('a', 8 * GIB - 1).length).toBe(BLOCK)
    expect(encodeHeader('a', 8 * GIB).length).toBe(3 * BLOCK)
    expect(encodeHeader('a', 8 * GIB).toString('latin1', BLOCK, BLOCK + 20)).toBe('19 size=8589934592\n\0')
  })

  test('of random bytes are refused, with no other error than ours', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3 * BLOCK }), (bytes) => {
        if (bytes.length >= BLOCK && bytes.subarray(0, BLOCK).every((byte) => byte === 0)) return
        expect(refusal(bytes)).not.toMatch(/^accepted/)
      }),
    )
  })

  test('[duty: one-tar] are accepted only as the writer makes them: any change of any byte is refused', () => {
    const at = fc.nat(3 * BLOCK - 1)
    fc.assert(
      fc.property(
        name,
        size,
        at,
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        (aName, aSize, place, flip, fix) => {
          const original = encodeHeader(aName, aSize)
          const header = Buffer.from(original)
          const where = place % header.length
          header[where] = (header[where] ?? 0) ^ flip
          // An attacker makes the header's checksum right again.
          const bytes = fix ? patchHeader(header, 0, '') : header
          let decoded
          try {
            decoded = decodeHeader(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(AirgapError)
            return
          }
          // A change of name or size with the right checksum makes another header of the writer's.
          expect(decoded).toBeDefined()
          if (decoded) expect(encodeHeader(decoded.name, decoded.size).equals(bytes)).toBe(true)
        },
      ),
      { numRuns: 3000 },
    )
  })

  const plain = encodeHeader('airgap.json', 5)
  const odd: [what: string, at: number, bytes: string, reason: string][] = [
    ['another mode', 100, '0000755\0', 'mode is not 0644'],
    ['a set-user-ID mode', 100, '0004644\0', 'mode is not 0644'],
    ['another uid', 108, '0001750\0', 'owner is not 0'],
    ['another gid', 116, '0001750\0', 'owner is not 0'],
    ['another time', 136, '00000000001\0', 'time is not 0'],
    ['a size with spaces', 124, '          5\0', 'size is not plain octal'],
    ['a size ended by a space', 124, '00000000005 ', 'size is not plain octal'],
    ['a size without leading zeros', 124, '5\0\0\0\0\0\0\0\0\0\0\0', 'size is not plain octal'],
    ['a size in base-256', 124, '\x80\0\0\0\0\0\0\0\0\0\0\x05', 'size is not plain octal'],
    [
      'a negative size in base-256',
      124,
      '\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb',
      'size is not plain octal',
    ],
    ['a size of twelve digits', 124, '000000000005', 'size is not plain octal'],
    ['the old type of a regular file', 156, '\0', 'its bytes differ'],
    ['a hard link', 156, '1', 'a hard link'],
    ['a symbolic link', 156, '2', 'a symbolic link'],
    ['a character device', 156, '3', 'a character device'],
    ['a block device', 156, '4', 'a block device'],
    ['a folder', 156, '5', 'a folder'],
    ['a pipe', 156, '6', 'a pipe'],
    ['a contiguous file', 156, '7', 'a contiguous file'],
    ['a global pax header', 156, 'g', 'a global pax header'],
    ['a GNU long name', 156, 'L', 'a GNU long name'],
    ['a GNU long link', 156, 'K', 'a GNU long link'],
    ['a GNU sparse file', 156, 'S', 'a GNU sparse file'],
    ['a GNU multi-volume part', 156, 'M', 'its bytes differ'],
    ['a link name', 157, '/etc/passwd', 'its bytes differ'],
    ['GNU’s magic', 257, 'ustar  \0', 'not in ustar form'],
    ['no magic', 257, '\0\0\0\0\0\0\0\0', 'not in ustar form'],
    ['another version', 263, '01', 'not in ustar form'],
    ['an owner’s name', 265, 'root', 'its bytes differ'],
    ['a group’s name', 297, 'root', 'its bytes differ'],
    ['no device numbers', 329, '\0\0\0\0\0\0\0\0', 'its bytes differ'],
    ['a name prefix', 345, 'folder', 'its bytes differ'],
    ['something behind the last field', 505, 'x', 'its bytes differ'],
    ['something behind the name', 20, 'x', 'its bytes differ'],
    ['a name that is not UTF-8', 0, '\xff', 'its bytes differ'],
    ['no name', 0, '\0'.repeat(11), 'not one that airgap writes'],
  ]
  test.each(odd)('with %s are refused', (_, at, bytes, reason) => {
    expect(refusal(patchHeader(plain, at, bytes))).toContain(reason)
  })

  test.each([
    ['six digits, blank, zero', '005034 \0'],
    ['spaces in front', ' 12345\0 '],
    ['seven digits', '0005034\0'],
    ['zero', '0000000\0'],
  ])('with a checksum of the form %s are refused', (_, form) => {
    const header = Buffer.from(plain)
    const digits = header.toString('latin1', 148, 154)
    header.write(form.replace('005034', digits).replace('12345', digits.slice(1)), 148, 'latin1')
    expect(refusal(header)).toContain('its bytes differ')
  })
})

describe('pax headers', () => {
  const large = encodeHeader('blobs/x', 8 * GIB)
  function withRecords(records: string, length = records.length): Buffer {
    const body = Buffer.alloc(BLOCK)
    body.write(records, 'latin1')
    const first = patchHeader(large.subarray(0, BLOCK), 124, length.toString(8).padStart(11, '0'))
    return Buffer.concat([first, body, large.subarray(2 * BLOCK)])
  }
  const size8 = '19 size=8589934592\n'

  test.each([
    ['a sparse name', '26 GNU.sparse.name=passwd\n'],
    ['a path', '15 path=passwd\n'],
    ['a second size', size8 + size8],
    ['a size and a path', `${size8}15 path=passwd\n`],
    ['a size below 8 GiB', '10 size=5\n'],
    ['a size with a leading zero', '20 size=08589934592\n'],
    ['a size with a sign', '20 size=+8589934592\n'],
    ['a size beyond 2^53', '25 size=99999999999999999\n'],
    ['a wrong record length', '20 size=8589934592\n'],
    ['no record', ''],
    ['a time', '17 mtime=1234567\n'],
    ['a comment', `${size8}13 comment=x\n`],
  ])('with %s are refused', (_, records) => {
    expect(refusal(withRecords(records))).toMatch(
      /extended header holds something else than|not one that airgap writes/,
    )
  })

  test('with a claimed length that hides records from some readers are refused', () => {
    expect(refusal(withRecords(`${size8}15 path=passwd\n`, size8.length))).toContain(
      'not one that airgap writes',
    )
    expect(refusal(withRecords(size8, 3 * BLOCK))).toContain('not the one that airgap writes')
  })

  test('with a name too long for their own name are refused, not a fault of ours', () => {
    const long = 'n'.repeat(95)
    const header = Buffer.concat([large.subarray(0, 2 * BLOCK), encodeHeader(long, 0)])
    expect(refusal(header)).toContain('not one that airgap writes')
  })

  test('in front of another entry’s header, or of another pax header, are refused', () => {
    const parts = [large.subarray(0, 2 * BLOCK), encodeHeader('blobs/x', 5)]
    expect(refusal(Buffer.concat(parts))).toContain('not the one that airgap writes')
    expect(refusal(Buffer.concat([large.subarray(0, 2 * BLOCK), large.subarray(0, BLOCK)]))).not.toMatch(
      /^accepted/,
    )
    expect(refusal(large.subarray(0, 2 * BLOCK))).toContain('ends in the middle of a header')
  })
})

test('tar-stream reads the same names and contents', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.tuple(name, fc.uint8Array({ maxLength: 1200 })), {
        selector: ([one]) => one,
        maxLength: 5,
      }),
      async (files) => {
        const bytes = archiveOf(files.map(([one, content]) => entry(one, content)))
        const found: [string, Uint8Array][] = []
        const reader = Readable.from([bytes]).pipe(extract())
        for await (const one of reader) {
          const chunks: Uint8Array[] = []
          for await (const chunk of one) chunks.push(chunk as Uint8Array)
          found.push([one.header.name, new Uint8Array(Buffer.concat(chunks))])
          expect(one.header).toMatchObject({
            type: 'file',
            mode: 0o644,
            uid: 0,
            gid: 0,
            uname: '',
            gname: '',
          })
          expect(one.header.mtime?.getTime()).toBe(0)
        }
        expect(found).toEqual(files)
      },
    ),
    { numRuns: 50 },
  )
})
