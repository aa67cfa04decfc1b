import { chmod, open, readFile, rename, truncate, utimes, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { TRUST } from '../verify/check-bundle.ts'
import { bytesOf } from '../support/registry/client.ts'
import { newSigner } from '../support/build-bundle.ts'
import { gist, serveFiles, serveImages, writeBundles } from './serving.ts'
import { largeImage } from './large-image.ts'

const SOURCE = 'docker.io/team/app:1'

async function alter(path: string, at: number): Promise<void> {
  const handle = await open(path, 'r+')
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, at)
  await handle.write(Buffer.of((buffer[0] ?? 0) ^ 1), 0, 1, at)
  await handle.close()
}

test('a bundle that is altered, signed by somebody else, or unsigned is not served', async () => {
  const built = await largeImage(1024)
  const layer = built.layers[0]?.bytes ?? Buffer.alloc(0)
  const [file = ''] = await writeBundles([{ source: SOURCE, built }])
  await expect(
    serveFiles([file], { trust: { ...TRUST, keys: [newSigner().publicKey] } }),
  ).rejects.toMatchObject({
    code: 'VERIFICATION_FAILED',
  })
  // The last byte of the layer: only hashing finds that.
  await alter(file, (await readFile(file)).indexOf(layer) + layer.length - 1)
  await expect(serveFiles([file])).rejects.toMatchObject({
    code: 'VERIFICATION_FAILED',
    problems: [{ message: expect.stringContaining('altered') }],
  })
})

test('a file that is written to is not served any further', async () => {
  const built = await largeImage(1024)
  const { get, files, log } = await serveImages([{ source: SOURCE, built }])
  const blob = `team/app/blobs/${built.layers[0]?.descriptor.digest}`
  expect((await get(blob)).status).toBe(200)

  await alter(files[0] ?? '', 5000)
  expect(await gist(await get(blob))).toBe('500 UNKNOWN')
  expect(log.at(-1)?.error).toMatch(/a\.tar has been changed since it was verified/)
  expect(await gist(await get('team/app/manifests/1'))).toBe('500 UNKNOWN')
  expect(log.at(-1)?.error).toMatch(/a\.tar has been changed since it was verified/)
})

test('a file that is written to, with its time of writing set back, is not served any further', async () => {
  const built = await largeImage(1024)
  const files = await writeBundles([{ source: SOURCE, built }])
  const [file = ''] = files
  const blob = `team/app/blobs/${built.layers[0]?.descriptor.digest}`
  const at = (await readFile(file)).indexOf(built.layers[0]?.bytes ?? '')
  const setBack = () => utimes(file, 1_700_000_000, 1_700_000_000)
  await setBack()
  const { get, log } = await serveFiles(files)
  await setBack()
  expect((await get(blob)).status).toBe(200)
  await alter(file, at)
  await setBack()
  expect(await gist(await get(blob))).toBe('500 UNKNOWN')
  expect(log.at(-1)?.error).toMatch(/a\.tar has been changed since it was verified/)
  // Also when the right bytes are back.
  await alter(file, at)
  await setBack()
  expect(await gist(await get(blob))).toBe('500 UNKNOWN')
})

test('a file of which only the owner, the mode or a name has changed is hashed again, once, and served', async () => {
  const built = await largeImage(1024)
  const { get, files, log } = await serveImages([{ source: SOURCE, built }])
  const [file = ''] = files
  const blob = `team/app/blobs/${built.layers[0]?.descriptor.digest}`
  await chmod(file, 0o400)
  await rename(file, `${file}.moved`)
  const answers = await Promise.all(Array.from({ length: 5 }, async () => (await get(blob)).status))
  expect(answers).toEqual(Array(5).fill(200))
  expect(log.filter(({ error }) => error !== undefined)).toEqual([])
})

test('a file that shrinks breaks the transfer off, and never ends it as if it were whole', async () => {
  const built = await largeImage(1024)
  const { get, files } = await serveImages([{ source: SOURCE, built }])
  await truncate(files[0] ?? '', 0)
  expect((await get(`team/app/blobs/${built.layers[0]?.descriptor.digest}`)).status).toBe(500)
})

test('a file that is written to in the middle of a transfer: the client does not come to the end', async () => {
  const built = await largeImage(32 * 1024 * 1024)
  const { get, files, log } = await serveImages([{ source: SOURCE, built }])
  const response = await get(`team/app/blobs/${built.layers[0]?.descriptor.digest}`)
  const reader = response.body?.getReader()
  await reader?.read()
  await alter(files[0] ?? '', 5000)
  const rest = async (): Promise<void> => {
    while (!(await reader?.read())?.done);
  }
  await expect(rest()).rejects.toThrow()
  await expect.poll(() => log.at(-1)?.error).toMatch(/has been changed/)
})

test('[duty: read-once] another file under the same name changes nothing: what was verified is what is open', async () => {
  const built = await largeImage(1024)
  const { get, files } = await serveImages([{ source: SOURCE, built }])
  const path = files[0] ?? ''
  await rename(path, `${path}.old`)
  await writeFile(path, 'something else')
  const blob = built.layers[0]
  const response = await get(`team/app/blobs/${blob?.descriptor.digest}`)
  expect(await bytesOf(response)).toEqual(blob?.bytes)
})

test('what one bundle has lost is served from another that has it, too', async () => {
  const built = await largeImage(1024)
  const images = [{ source: SOURCE, built }]
  const { get, files } = await serveImages(images, images)
  await truncate(files[0] ?? '', 0)
  const blob = built.layers[0]
  const response = await get(`team/app/blobs/${blob?.descriptor.digest}`)
  expect([response.status, await bytesOf(response)]).toEqual([200, blob?.bytes])
})
