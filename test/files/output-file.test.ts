import { execFileSync } from 'node:child_process'
import {
  chmod,
  link,
  lchown,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ErrorCode } from '../../src/errors.ts'
import { checkRoom } from '../../src/files/output-checks.ts'
import { OutputFile } from '../../src/files/output-file.ts'
import { temporaryFolder } from '../support/build-bundle.ts'

const PARTIAL_SUFFIX = '.partial'
const isRoot = process.getuid?.() === 0

/** One small output from beginning to end. */
async function writeOutput(
  path: string,
  bytes: Uint8Array,
  options: { force?: boolean; mode?: number } = {},
): Promise<void> {
  const file = await OutputFile.reserve(path, options)
  await file.write(bytes, 0)
  await file.commit()
}

async function expectRefusal(path: string, code: ErrorCode, words: string, force = false): Promise<void> {
  const folder = join(path, '..')
  const before = await readdir(folder).catch(() => [])
  const attempt = writeOutput(path, Buffer.from('new'), { force })
  await expect(attempt).rejects.toMatchObject({ code, message: expect.stringContaining(words) as string })
  expect(await readdir(folder).catch(() => [])).toEqual(before)
}

async function output(): Promise<{ folder: string; path: string }> {
  const folder = await temporaryFolder()
  return { folder, path: join(folder, 'bundle.tar') }
}

describe('an output file', () => {
  test('appears whole and under its name only at the end', async () => {
    const { folder, path } = await output()
    const file = await OutputFile.reserve(path)
    await file.allocate(8)
    await file.write(Buffer.from('end'), 5)
    await file.write(Buffer.from('begin'), 0)
    expect(await readdir(folder)).toEqual([`bundle.tar${PARTIAL_SUFFIX}`])
    await file.commit()
    expect(await readdir(folder)).toEqual(['bundle.tar'])
    expect(await readFile(path, 'utf8')).toBe('beginend')
    expect((await stat(path)).nlink).toBe(1)
  })

  test('is gone when it is given up, and stays when it is given up after the end', async () => {
    const { folder, path } = await output()
    const file = await OutputFile.reserve(path)
    await file.write(Buffer.from('x'), 0)
    await file.discard()
    await file.discard()
    expect(await readdir(folder)).toEqual([])

    const other = await OutputFile.reserve(path)
    await other.commit()
    await other.discard()
    expect(await readdir(folder)).toEqual(['bundle.tar'])
  })

  test('giving up after the end leaves another run’s unfinished file alone', async () => {
    const { folder, path } = await output()
    const first = await OutputFile.reserve(path, { force: true })
    await first.commit()
    const second = await OutputFile.reserve(path, { force: true })
    await first.discard()
    expect(await readdir(folder)).toEqual(['bundle.tar', 'bundle.tar.partial'])
    await second.discard()
  })

  test('has the mode asked for, less the umask', async () => {
    const { path } = await output()
    const umask = process.umask()
    await writeOutput(path, Buffer.from('x'), { mode: 0o600 })
    expect((await stat(path)).mode & 0o777).toBe(0o600 & ~umask)
    await writeOutput(path, Buffer.from('x'), { force: true })
    expect((await stat(path)).mode & 0o777).toBe(0o666 & ~umask)
  })
})

describe('what stands in the way', () => {
  test('a file of that name: refused, replaced only by force', async () => {
    const { path } = await output()
    await writeFile(path, 'old')
    await expectRefusal(path, 'OUTPUT_EXISTS', 'it already exists')
    expect(await readFile(path, 'utf8')).toBe('old')
    await writeOutput(path, Buffer.from('new'), { force: true })
    expect(await readFile(path, 'utf8')).toBe('new')
  })

  test('a file that appeared while this one was written is not overwritten', async () => {
    const { folder, path } = await output()
    const file = await OutputFile.reserve(path)
    await writeFile(path, 'somebody else was faster')
    await expect(file.commit()).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' })
    expect(await readFile(path, 'utf8')).toBe('somebody else was faster')
    expect(await readdir(folder)).toEqual(['bundle.tar'])
  })

  test('a symbolic link: refused; by force the link is replaced and never what it points to', async () => {
    const { folder, path } = await output()
    const target = join(folder, 'target')
    await writeFile(target, 'precious')
    await symlink(target, path)
    await expectRefusal(path, 'OUTPUT_UNSAFE', 'it is a symbolic link')
    await writeOutput(path, Buffer.from('new'), { force: true })
    expect(await readFile(target, 'utf8')).toBe('precious')
    expect((await lstat(path)).isFile()).toBe(true)
  })

  test('a link to nowhere', async () => {
    const { folder, path } = await output()
    await symlink(join(folder, 'nowhere'), path)
    await expectRefusal(path, 'OUTPUT_UNSAFE', 'it is a symbolic link')
  })

  test('a folder or a device, by force too', async () => {
    const { path } = await output()
    await mkdir(path)
    await expectRefusal(path, 'OUTPUT_UNSAFE', 'it is not a regular file')
    await expectRefusal(path, 'OUTPUT_UNSAFE', 'it is not a regular file', true)
    await expectRefusal('/dev/null', 'OUTPUT_UNSAFE', 'it is not a regular file', true)
  })

  test('no folder, or a file where a folder should be', async () => {
    const { folder } = await output()
    await expectRefusal(
      join(folder, 'missing', 'bundle.tar'),
      'FILE',
      `there is no folder ${join(folder, 'missing')}`,
    )
    await writeFile(join(folder, 'file'), '')
    await expectRefusal(join(folder, 'file', 'bundle.tar'), 'FILE', 'not a folder')
  })
})

describe('the unfinished file’s name', () => {
  test('what an interrupted run left there is removed', async () => {
    const { folder, path } = await output()
    await writeFile(`${path}${PARTIAL_SUFFIX}`, 'unfinished, and longer than what comes now')
    await writeOutput(path, Buffer.from('new'))
    expect(await readdir(folder)).toEqual(['bundle.tar'])
    expect(await readFile(path, 'utf8')).toBe('new')
  })

  test('[duty: local-state] a link there is neither followed nor removed', async () => {
    const { folder, path } = await output()
    const target = join(folder, 'target')
    await writeFile(target, 'precious')
    await symlink(target, `${path}${PARTIAL_SUFFIX}`)
    await expectRefusal(path, 'OUTPUT_UNSAFE', 'is in the way, and is not an unfinished file of airgap')
    await expectRefusal(path, 'OUTPUT_UNSAFE', 'is in the way', true)
    expect(await readFile(target, 'utf8')).toBe('precious')
  })

  test('a second name of some other file there is left alone', async () => {
    const { folder, path } = await output()
    await writeFile(join(folder, 'precious'), 'precious')
    await link(join(folder, 'precious'), `${path}${PARTIAL_SUFFIX}`)
    await expectRefusal(path, 'OUTPUT_UNSAFE', 'is in the way')
  })

  test('a folder there is left alone', async () => {
    const { path } = await output()
    await mkdir(`${path}${PARTIAL_SUFFIX}`)
    await expectRefusal(path, 'OUTPUT_UNSAFE', 'is in the way')
  })

  test.runIf(isRoot)('somebody else’s file there is left alone', async () => {
    const { path } = await output()
    const partial = `${path}${PARTIAL_SUFFIX}`
    await writeFile(partial, 'theirs')
    await lchown(partial, 1, 1)
    await expectRefusal(path, 'OUTPUT_UNSAFE', 'is not an unfinished file of airgap')
    expect(await readFile(partial, 'utf8')).toBe('theirs')
  })

  test('a file put in its place meanwhile does not get the output’s name', async () => {
    const { path } = await output()
    const partial = `${path}${PARTIAL_SUFFIX}`
    const file = await OutputFile.reserve(path)
    await writeFile(`${partial}.evil`, 'evil')
    await rename(`${partial}.evil`, partial)
    await expect(file.commit()).rejects.toMatchObject({
      code: 'FILE',
      message: expect.stringContaining('was replaced while it was written') as string,
    })
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await readFile(partial, 'utf8')).toBe('evil')
  })
})

describe('links on the way to the folder', () => {
  test('one’s own links are followed', async () => {
    const { folder } = await output()
    await mkdir(join(folder, 'real'))
    await symlink('real', join(folder, 'shortcut'))
    await writeOutput(join(folder, 'shortcut', 'bundle.tar'), Buffer.from('x'))
    expect(await readdir(join(folder, 'real'))).toEqual(['bundle.tar'])
  })

  test.runIf(isRoot)('somebody else’s link in a shared folder is not', async () => {
    const { folder } = await output()
    await chmod(folder, 0o1777)
    await mkdir(join(folder, 'real'))
    await symlink('real', join(folder, 'trap'))
    await lchown(join(folder, 'trap'), 1, 1)
    await expectRefusal(
      join(folder, 'trap', 'bundle.tar'),
      'OUTPUT_UNSAFE',
      'is a symbolic link of another user in a shared folder',
    )
    expect(await readdir(join(folder, 'real'))).toEqual([])
  })

  test('a link where everybody can replace it is not', async () => {
    const { folder } = await output()
    const shared = join(folder, 'shared')
    await mkdir(shared)
    await chmod(shared, 0o777)
    await mkdir(join(shared, 'real'))
    await symlink('real', join(shared, 'shortcut'))
    await expectRefusal(
      join(shared, 'shortcut', 'bundle.tar'),
      'OUTPUT_UNSAFE',
      'is a symbolic link in a folder where anybody can replace it',
    )
  })
})

describe('a full disk', () => {
  test('is noticed before anything is written', async () => {
    const { folder, path } = await output()
    const file = await OutputFile.reserve(path)
    await expect(file.allocate(2 ** 52)).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringMatching(
        /bytes free, but 4,503,599,627,370,496 are needed: [\d,]+ bytes are missing/,
      ) as string,
    })
    await file.discard()
    expect(await readdir(folder)).toEqual([])
  })

  test('is said so when it fills up meanwhile', async (context) => {
    const { folder } = await output()
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' })
    } catch {
      context.skip('mounting is not possible here')
    }
    onTestFinished(() => void execFileSync('umount', ['-l', folder]))
    const path = join(folder, 'bundle.tar')
    const file = await OutputFile.reserve(path)
    await file.allocate(900_000)
    await writeFile(join(folder, 'other'), Buffer.alloc(900_000))
    await expect(file.write(Buffer.alloc(900_000), 0)).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringContaining(`cannot write ${path}: the disk is full (ENOSPC)`) as string,
    })
    await file.discard()
    expect(await readdir(folder)).toEqual(['other'])
  })

  test('4 GiB do not fit into a file on FAT, known without writing anything', async () => {
    const { path } = await output()
    const fat = { type: 0x4d44, bsize: 4096, blocks: 2 ** 24, bavail: 2 ** 24 }
    await expect(checkRoom(path, 2 ** 32, undefined, fat)).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringContaining(
        `cannot write ${path}: the file system cannot hold a file of that size`,
      ),
      hint: expect.stringContaining('FAT32 allows at most 4 GiB per file'),
    })
    await checkRoom(path, 2 ** 32 - 1, undefined, fat)
    await checkRoom(path, 2 ** 32, undefined, { ...fat, type: 0x2011bab0 })
    await expect(
      checkRoom(path, 2 ** 33, undefined, { ...fat, type: 0xef53, bavail: 2 ** 20 }),
    ).rejects.toMatchObject({ code: 'DISK_FULL', message: expect.stringMatching(/bytes free, but/) })
  })

  test('without hard links (FAT) the file still gets its name, and replaces none', async (context) => {
    const { folder } = await output()
    const image = join(await temporaryFolder(), 'fat.img')
    try {
      await writeFile(image, Buffer.alloc(4 * 1024 * 1024))
      execFileSync('mkfs.vfat', [image], { stdio: 'ignore' })
      execFileSync('mount', ['-o', 'loop', image, folder], { stdio: 'ignore' })
    } catch {
      context.skip('mounting a FAT file system is not possible here')
    }
    onTestFinished(() => void execFileSync('umount', ['-l', folder]))
    const path = join(folder, 'bundle.tar')
    await writeOutput(path, Buffer.from('x'))
    expect(await readdir(folder)).toEqual(['bundle.tar'])
    await expectRefusal(path, 'OUTPUT_EXISTS', 'it already exists')
  })
})
