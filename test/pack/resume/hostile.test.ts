import { execFileSync } from 'node:child_process'
import {
  chmod,
  copyFile,
  lchown,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { verify } from '../../../src/index.ts'
import { decodeLines, encodeLine } from '../../../src/pack/resume/format.ts'
import { newSigner, signer } from '../../support/build-bundle.ts'
import { flip, openShop, overwrite, type Shop } from './resuming.ts'

const isRoot = process.getuid?.() === 0

let shop: Shop
let before: { partial: Buffer; journal: Buffer }

beforeEach(async () => {
  shop = await openShop()
  await shop.breakOff(3_000_000, { key: signer })
  before = { partial: await readFile(shop.partial), journal: await readFile(shop.journal) }
  shop.asked()
})

/** Expects that it is noticed before anything is asked of a registry, and that everything stays as it is. */
async function expectRefusal(code: string, words: string | RegExp): Promise<void> {
  const names = await readdir(shop.folder)
  const said = typeof words === 'string' ? expect.stringContaining(words) : expect.stringMatching(words)
  await expect(shop.pack({ key: signer })).rejects.toMatchObject({ code, message: said as string })
  expect(shop.asked()).toEqual({ manifests: [], blobs: [] })
  expect(await readdir(shop.folder)).toEqual(names)
}

/** A journal whose lines are all sound, and whose header says something else. */
async function changeHeader(change: (header: Record<string, any>) => object): Promise<void> {
  const [header, ...rest] = [...decodeLines(before.journal)].map(
    ({ json }) => JSON.parse(json.toString()) as Record<string, any>,
  )
  await overwrite(shop.journal, Buffer.concat([change(header!), ...rest].map((line) => encodeLine(line))))
}

describe('a journal that is not trusted', () => {
  test('a link', async () => {
    await rename(shop.journal, join(shop.folder, 'elsewhere'))
    await symlink('elsewhere', shop.journal)
    await expectRefusal('OUTPUT_UNSAFE', 'out.tar.partial.journal is in the way')
  })

  test('a second name of some file', async () => {
    await link(shop.journal, join(shop.folder, 'other'))
    await expectRefusal('OUTPUT_UNSAFE', 'out.tar.partial.journal is in the way')
  })

  test('a folder, and a pipe that nobody writes to', async () => {
    await rm(shop.journal)
    await mkdir(shop.journal)
    await expectRefusal('OUTPUT_UNSAFE', 'in the way')
    await rm(shop.journal, { recursive: true })
    execFileSync('mkfifo', [shop.journal])
    await expectRefusal('OUTPUT_UNSAFE', 'in the way')
  })

  test.runIf(isRoot)('somebody else’s', async () => {
    await lchown(shop.journal, 1, 1)
    await expectRefusal('OUTPUT_UNSAFE', 'in the way')
  })

  test('one that others may write', async () => {
    await chmod(shop.journal, 0o620)
    await expectRefusal('OUTPUT_UNFINISHED', 'users other than its owner can write to it')
  })

  test('a huge one, without reading it', async () => {
    await truncate(shop.journal, 2 ** 40)
    await expectRefusal('OUTPUT_UNFINISHED', /it has 1099511627776 bytes, but at most \d+ are allowed/)
  })

  test('one about another file', async () => {
    await copyFile(shop.partial, `${shop.partial}.copy`)
    await rename(`${shop.partial}.copy`, shop.partial)
    await expectRefusal('OUTPUT_UNFINISHED', 'its journal is about another file')
  })

  test('damage in the middle', async () => {
    await flip(shop.journal, before.journal.length - 300)
    await expectRefusal('OUTPUT_UNFINISHED', /its journal cannot be trusted: line \d+ is damaged/)
  })

  test('none, and one that has lost its file', async () => {
    await rm(shop.journal)
    await expectRefusal('OUTPUT_UNFINISHED', 'there is no journal next to it')
    await writeFile(shop.journal, before.journal, { mode: 0o600 })
    await rm(shop.partial)
    await expectRefusal(
      'OUTPUT_UNFINISHED',
      'out.tar.partial.journal exists, but the file that it is about does not',
    )
    await shop.pack({ key: signer, fresh: true })
    expect(await readdir(shop.folder)).toEqual(['out.tar'])
  })

  test('another lock under the same signature', async () => {
    await changeHeader((header) => ({
      ...header,
      description: { ...header.description, sequence: 7 },
    }))
    await expectRefusal('OUTPUT_UNFINISHED', 'its journal describes a different bundle than it names')
  })

  test('a signature by somebody else', async () => {
    const other = newSigner()
    await changeHeader((header) => ({
      ...header,
      inputs: { ...header.inputs, key: other.publicKey.fingerprint },
    }))
    const attempt = shop.pack({ key: other })
    await expect(attempt).rejects.toMatchObject({
      code: 'OUTPUT_UNFINISHED',
      message: expect.stringContaining('the signature in its journal is not by this key') as string,
    })
    await changeHeader((header) => ({ ...header, signature: undefined }))
    await expectRefusal('OUTPUT_UNFINISHED', 'cannot be resumed')
  })
})

describe('an unfinished file that is not trusted', () => {
  test('a link, a second name, somebody else’s', async () => {
    await rename(shop.partial, join(shop.folder, 'elsewhere'))
    await symlink('elsewhere', shop.partial)
    await expectRefusal('OUTPUT_UNSAFE', 'out.tar.partial is in the way')
    await rm(shop.partial)
    await link(join(shop.folder, 'elsewhere'), shop.partial)
    await expectRefusal('OUTPUT_UNSAFE', 'out.tar.partial is in the way')
    await rm(join(shop.folder, 'elsewhere'))
    if (isRoot) await lchown(shop.partial, 1, 1)
    if (isRoot) await expectRefusal('OUTPUT_UNSAFE', 'out.tar.partial is in the way')
  })

  test('one that was cut off, or emptied, still comes to a sound bundle', async () => {
    await truncate(shop.partial, 100_000)
    await shop.pack({ key: signer })
    await verify(shop.output, { keys: [signer.publicKey] })
  })

  test('whatever is wrong with the journal, the file serves by --reuse', async () => {
    await shop.breakOff(3_000_000, { key: signer })
    await flip(shop.journal, 100)
    const { reused } = await shop.pack({ key: signer, reuse: [shop.partial] })
    expect(reused.count).toBeGreaterThan(0)
    await verify(shop.output, { keys: [signer.publicKey] })
    expect(await readdir(shop.folder)).toEqual(['out.tar'])
  })
})
