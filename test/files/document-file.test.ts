import { lstat, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DocumentFile } from '../../src/files/document-file.ts'
import { temporaryFolder } from '../support/build-bundle.ts'

const SUFFIXES = ['.sigstore.json', '.sig']
const PARTS = new Map([
  ['', Buffer.from('document')],
  ['.sigstore.json', Buffer.from('one')],
  ['.sig', Buffer.from('two')],
])

async function reserved(): Promise<{ folder: string; file: DocumentFile }> {
  const folder = await temporaryFolder()
  return { folder, file: await DocumentFile.reserve(join(folder, 'r.json'), SUFFIXES) }
}

describe('a document with its signatures', () => {
  test('appears whole', async () => {
    const { folder, file } = await reserved()
    expect(file.path).toBe(join(folder, 'r.json'))
    expect((await readdir(folder)).every((name) => name.endsWith('.partial'))).toBe(true)
    await file.write(PARTS)
    await file.discard()
    expect(await readdir(folder)).toEqual(['r.json', 'r.json.sig', 'r.json.sigstore.json'])
    for (const [suffix, bytes] of PARTS)
      expect(await readFile(join(folder, `r.json${suffix}`))).toEqual(bytes)
  })

  test('leaves nothing when it is given up', async () => {
    const { folder, file } = await reserved()
    await file.discard()
    expect(await readdir(folder)).toEqual([])
  })

  test.each(['r.json', 'r.json.sig'])('is refused where %s is there, and takes no name', async (taken) => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, taken), 'mine')
    await expect(DocumentFile.reserve(join(folder, 'r.json'), SUFFIXES)).rejects.toMatchObject({
      code: 'OUTPUT_EXISTS',
      hint: 'Choose another name.',
    })
    expect(await readdir(folder)).toEqual([taken])
    expect(await readFile(join(folder, taken), 'utf8')).toBe('mine')
  })

  test('follows no link', async () => {
    const folder = await temporaryFolder()
    await symlink(join(folder, 'nowhere'), join(folder, 'r.json'))
    await expect(DocumentFile.reserve(join(folder, 'r.json'))).rejects.toMatchObject({
      code: 'OUTPUT_UNSAFE',
    })
    expect((await lstat(join(folder, 'r.json'))).isSymbolicLink()).toBe(true)
  })

  test.each(['r.json', 'r.json.sigstore.json'])(
    'leaves nothing of its own where %s is taken meanwhile, and does not touch that',
    async (taken) => {
      const { folder, file } = await reserved()
      await writeFile(join(folder, taken), 'faster')
      await expect(file.write(PARTS)).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' })
      expect(await readdir(folder)).toEqual([taken])
      expect(await readFile(join(folder, taken), 'utf8')).toBe('faster')
    },
  )

  test('fails where the folder is gone', async () => {
    const folder = join(await temporaryFolder(), 'sub')
    await mkdir(folder)
    const file = await DocumentFile.reserve(join(folder, 'r.json'))
    await rm(folder, { recursive: true })
    await expect(file.write(PARTS)).rejects.toMatchObject({ code: 'FILE' })
  })
})
