import { expect, test } from 'vitest'
import { addressesBehind } from '../../../src/registry/net/reach.ts'

test('names behind a proxy are looked up once, and nobody waits long for them', async () => {
  const asked: string[] = []
  const lookup = (host: string): Promise<string[]> => {
    asked.push(host)
    return host === 'silent.example' ? new Promise(() => {}) : Promise.resolve(['10.1.1.1'])
  }
  const addressesOf = addressesBehind((host) => host !== 'direct.example', lookup, 1)
  expect(await addressesOf('silent.example')).toEqual([])
  expect(await addressesOf('silent.example')).toEqual([])
  // What is known here counts behind a proxy, too.
  expect(await addressesOf('known.example')).toEqual(['10.1.1.1'])
  for (let i = 0; i < 2; i++) expect(await addressesOf('direct.example')).toEqual(['10.1.1.1'])
  expect(asked).toEqual(['silent.example', 'known.example', 'direct.example', 'direct.example'])
})
