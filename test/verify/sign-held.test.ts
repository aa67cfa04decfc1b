import { readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { AirgapError, verify, type SigningKey, type TransferEvent } from '../../src/index.ts'
import { signer } from '../support/build-bundle.ts'
import { openShop } from '../pack/resume/resuming.ts'

/** The tests' key as if a program held it, and how often that was asked. */
function held(): { key: SigningKey; asked: () => number } {
  let count = 0
  const key: SigningKey = {
    ...signer,
    heldBy: 'token',
    sign: async (bytes) => {
      count += 1
      return signer.signNow(bytes)
    },
  }
  return { key, asked: () => count }
}

test('a pack asks a key held elsewhere once: not for a plan, and not again when it goes on', async () => {
  const shop = await openShop()
  const { key, asked } = held()
  const plan = await shop.pack({ key, output: undefined, name: 'out' })
  expect(asked()).toBe(0)
  await shop.breakOff(3_000_000, { key })
  expect(asked()).toBe(1)
  await shop.breakOff(3_000_000, { key })
  const packed = await shop.pack({ key })
  expect(asked()).toBe(1)
  expect(packed.resumed.bytes).toBeGreaterThan(0)
  expect(plan).toMatchObject({ size: packed.size, entries: packed.entries, isSigned: true })
  await verify(shop.output, { keys: [signer.publicKey] })
})

test('a pack says when it asks, before the first blob', async () => {
  const shop = await openShop()
  const events: TransferEvent[] = []
  await shop.pack({ key: held().key, onEvent: (event) => events.push(event) })
  const at = events.findIndex(({ type }) => type === 'signing')
  expect(events[at]).toEqual({ type: 'signing', by: 'token' })
  expect(at).toBeLessThan(events.findIndex((event) => event.type === 'phase' && event.phase === 'fetch'))
})

test('where nothing is signed, nothing is fetched and nothing is left', async () => {
  const shop = await openShop()
  const reason = new AirgapError('SIGNING', 'the token is not plugged in')
  const key: SigningKey = { ...signer, sign: () => Promise.reject(reason) }
  await expect(shop.pack({ key })).rejects.toBe(reason)
  expect(shop.asked().blobs.filter((line) => line.includes('bytes='))).toEqual([])
  expect((await readdir(shop.folder)).filter((name) => name.startsWith('out'))).toEqual([])
})
