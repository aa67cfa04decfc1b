import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Quirk } from '../../support/registry/quirks.ts'
import { failureOf } from '../../support/client.ts'
import { cuttingProxy, KIB, sample, target, type Fault, type Target } from './uploading.ts'

async function behindFaults(
  faults: readonly Fault[],
  quirks: Quirk[],
  sizes: Parameters<typeof target>[1] = { chunkSize: 64 * KIB, prefersChunks: true },
): Promise<Target> {
  return target({ quirks }, sizes, (registry) => cuttingProxy(registry.host, faults))
}

const receivedBy = ({ registry }: Target): number =>
  registry.requests.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0)

describe('a connection that is cut', () => {
  test('in the middle of one stream: small blobs go once more so, and then in chunks', async () => {
    const faults: Fault[] = [
      { way: 'up', after: 100 * KIB },
      { way: 'up', after: 200 * KIB },
    ]
    const to = await behindFaults(faults, [], { chunkSize: 64 * KIB })
    const { descriptor, open, bytes } = sample(250 * KIB)
    await to.repository.uploadBlob(descriptor, open)
    expect(await to.stored(descriptor.digest)).toEqual(bytes)
    expect(to.log().filter((line) => line.startsWith('PATCH'))).toHaveLength(4)
  })

  test('in the middle of one stream: large blobs go in chunks then', async () => {
    const to = await behindFaults([{ way: 'up', after: 100 * KIB }], [], { chunkSize: 64 * KIB, small: KIB })
    const { descriptor, open, bytes } = sample(250 * KIB)
    await to.repository.uploadBlob(descriptor, open)
    expect(await to.stored(descriptor.digest)).toEqual(bytes)
    const methods = to.log().map((line) => line.split(' ')[0])
    expect(methods).toEqual([
      'POST',
      'PUT',
      'HEAD',
      'POST',
      'DELETE',
      'PATCH',
      'PATCH',
      'PATCH',
      'PATCH',
      'PUT',
    ])
  })

  test.each<[string, Quirk[], number]>([
    ['the chunk is forgotten: it is sent again', [], 2],
    ['what came is kept: the rest is sent', ['keep-partial-chunk'], 2],
    ['what came is kept, and Content-Range ignored', ['keep-partial-chunk', 'ignore-content-range'], 2],
    ['the registry does not say where it is: our own count is right', ['no-upload-status'], 2],
    ['the session is lost: that blob starts over', ['session-lost-on-drop'], 1],
    ['the session is lost, behind Locations that change', ['session-lost-on-drop', 'location-changes'], 1],
    ['our own count is wrong: it starts over', ['no-upload-status', 'keep-partial-chunk'], 1],
    [
      'our own count is wrong, and nobody says so until the digest is',
      ['no-upload-status', 'keep-partial-chunk', 'ignore-content-range'],
      1,
    ],
  ])('in the middle of a chunk; %s', async (_, quirks, firstReopened) => {
    const to = await behindFaults([{ way: 'up', after: 100 * KIB }], quirks)
    const { descriptor, open, opened, bytes } = sample(250 * KIB)
    await to.repository.uploadBlob(descriptor, open)
    expect(await to.stored(descriptor.digest)).toEqual(bytes)
    // The chunks before the fault are read again only where the whole blob is sent again.
    const isOver = opened.filter((from) => from === 0).length > 1
    expect(isOver).toBe(firstReopened === 1)
  })

  test('again and again, and no chunk ever gets through: an error after a bounded number of attempts', async () => {
    const faults = Array.from({ length: 50 }, (_, i): Fault => ({ way: 'up', after: (i + 1) * 20 * KIB }))
    const to = await behindFaults(faults, [], { chunkSize: 64 * KIB, floor: 64 * KIB, prefersChunks: true })
    const { descriptor, open } = sample(250 * KIB)
    await failureOf(to.repository.uploadBlob(descriptor, open), 'NETWORK')
    expect(to.notices.filter(({ type }) => type === 'retry')).toHaveLength(4)
  })

  test('again and again at the same chunk: smaller ones get through', async () => {
    const faults = Array.from({ length: 8 }, (_, i): Fault => ({ way: 'up', after: (i + 1) * 20 * KIB }))
    const to = await behindFaults(faults, [])
    const { descriptor, open, bytes } = sample(250 * KIB)
    await to.repository.uploadBlob(descriptor, open)
    expect(await to.stored(descriptor.digest)).toEqual(bytes)
  })

  test('after each chunk: as many faults as chunks are no reason to give up', async () => {
    const faults = Array.from({ length: 12 }, (_, i): Fault => ({ way: 'up', after: (i * 110 + 100) * KIB }))
    const to = await behindFaults(faults, [])
    const { descriptor, open, bytes } = sample(800 * KIB)
    await to.repository.uploadBlob(descriptor, open)
    expect(await to.stored(descriptor.digest)).toEqual(bytes)
    expect(to.notices.length).toBeGreaterThan(5)
  })
})

test('whatever is cut: the right bytes arrive, and at most a chunk is sent again for each fault', async () => {
  const fault = fc.record({
    way: fc.constantFrom<Fault['way']>('up', 'down'),
    after: fc.nat({ max: 300 * KIB }),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 200 * KIB }),
      fc.integer({ min: 16 * KIB, max: 80 * KIB }),
      fc.array(fault, { maxLength: 4 }),
      fc.subarray<Quirk>([
        'keep-partial-chunk',
        'ignore-content-range',
        'range-bytes',
        'patch-201',
        'relative-location',
      ]),
      async (size, chunkSize, wanted, quirks) => {
        // Answers are short: they are cut within the first few.
        const faults = wanted.map(({ way, after }) => ({ way, after: way === 'up' ? after : after % 2500 }))
        const to = await behindFaults(faults, quirks, { chunkSize, floor: 1, prefersChunks: true })
        const { descriptor, open, bytes } = sample(size, 5000)
        await to.repository.uploadBlob(descriptor, open)
        expect(await to.stored(descriptor.digest)).toEqual(bytes)
        expect(receivedBy(to)).toBeLessThanOrEqual(size + faults.length * chunkSize)
        await to.registry.close()
      },
    ),
    { numRuns: 30 },
  )
})
