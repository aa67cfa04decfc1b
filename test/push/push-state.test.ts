import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { push, type Receipt, type TransferEvent } from '../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { signer } from '../support/build-bundle.ts'
import { bundled } from '../index/bundled.ts'

/** Large enough to be remembered. */
const SIZE = 9 * 1024 * 1024

async function interruptedPush(
  stateDirectory: (folder: string) => string | false,
): Promise<{ state: string; target: EmbeddedRegistry; again: () => Promise<Receipt> }> {
  const { folder, bundle } = await bundled(SIZE)
  const target = await startRegistry()
  onTestFinished(() => target.close())
  const state = join(folder, 'state')
  const options = { keys: [signer.publicKey], stateDirectory: stateDirectory(state) }
  const stop = new AbortController()
  let isUploading = false
  const onEvent = (event: TransferEvent): void => {
    if (event.type === 'phase') isUploading = event.phase === 'upload'
    if (isUploading && event.type === 'progress' && event.bytes > 10_000) stop.abort()
  }
  await expect(push(bundle, target.host, { ...options, onEvent, signal: stop.signal })).rejects.toThrow()
  return { state, target, again: () => push(bundle, target.host, options) }
}

test('an upload that broke off is known to the next push, which sends it in chunks and forgets it', async () => {
  const { state, target, again } = await interruptedPush((folder) => folder)
  const [name = ''] = readdirSync(state)
  expect(name).toMatch(/^[0-9a-f]{64}\.json$/)
  const { uploads } = JSON.parse(readFileSync(join(state, name), 'utf8')) as { uploads: unknown[] }
  expect(uploads).toMatchObject([{ repository: expect.stringMatching(/app$/), mode: 'stream' }])
  const before = target.requests.length
  expect(await again()).toMatchObject({ complete: true })
  const methods = target.requests.slice(before).map(({ method }) => method)
  expect(methods.filter((method) => method === 'PATCH')).toHaveLength(1)
  expect(methods.filter((method) => method === 'DELETE')).toHaveLength(1)
  expect(readdirSync(state)).toEqual([])
})

test('stateDirectory: false remembers nothing', async () => {
  const { state, target, again } = await interruptedPush(() => false)
  expect(existsSync(state)).toBe(false)
  expect(await again()).toMatchObject({ complete: true })
  expect(target.requests.map(({ method }) => method)).not.toContain('PATCH')
})
