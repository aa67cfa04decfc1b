import { chmod, chown, mkdir, readdir, stat, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { codeCacheFolder } from '../../src/cli/code-cache.ts'
import { TOOL } from '../../src/own-files.ts'
import { airgap, scratch } from '../support/airgap.ts'

const USER = process.geteuid?.() ?? 0
const STRANGER = 12345
const LEAF = join('airgap', `code-${TOOL.version}`)

describe('the folder for compiled code', () => {
  it('is made below the cache folder of the user, for the user alone', async () => {
    await using home = await scratch()
    const folder = codeCacheFolder({ HOME: home.path }, USER)
    expect(folder).toBe(join(home.path, '.cache', LEAF))
    expect((await stat(folder ?? '')).mode & 0o777).toBe(0o700)
    expect(codeCacheFolder({ HOME: home.path }, USER)).toBe(folder)
  })

  it('is where XDG_CACHE_HOME says, unless that is no absolute path', async () => {
    await using home = await scratch()
    const caches = join(home.path, 'caches')
    expect(codeCacheFolder({ HOME: '/nonexistent', XDG_CACHE_HOME: caches }, USER)).toBe(join(caches, LEAF))
    const relative = { HOME: home.path, XDG_CACHE_HOME: 'caches' }
    expect(codeCacheFolder(relative, USER)).toBe(join(home.path, '.cache', LEAF))
  })

  it('is none without a home, and no home is made', async () => {
    await using home = await scratch()
    for (const HOME of [undefined, '', 'relative', join(home.path, 'missing')]) {
      expect(codeCacheFolder({ HOME }, USER)).toBeUndefined()
    }
    expect(await readdir(home.path)).toEqual([])
  })

  it('is none where the system knows no users', async () => {
    await using home = await scratch()
    expect(codeCacheFolder({ HOME: home.path }, undefined)).toBeUndefined()
  })

  it('is none where nothing can be written', () => {
    expect(codeCacheFolder({ HOME: '/proc/self' }, USER)).toBeUndefined()
  })

  it.each(['.cache', '.cache/airgap', join('.cache', LEAF)])(
    'is none where others may write to %s',
    async (path) => {
      await using home = await scratch()
      const made = codeCacheFolder({ HOME: home.path }, USER)
      for (const mode of [0o777, 0o770]) {
        await chmod(join(home.path, path), mode)
        expect(codeCacheFolder({ HOME: home.path }, USER)).toBeUndefined()
      }
      await chmod(join(home.path, path), 0o700)
      expect(codeCacheFolder({ HOME: home.path }, USER)).toBe(made)
    },
  )

  it('is none where others may only read: Node makes files there that they could write to', async () => {
    await using home = await scratch()
    await chmod(codeCacheFolder({ HOME: home.path }, USER) ?? '', 0o755)
    expect(codeCacheFolder({ HOME: home.path }, USER)).toBeUndefined()
  })

  it.each(['airgap', LEAF])('is none where %s is a symbolic link', async (path) => {
    await using home = await scratch()
    const planted = join(home.path, 'planted')
    await mkdir(planted, { mode: 0o700 })
    const link = join(home.path, '.cache', path)
    await mkdir(join(link, '..'), { recursive: true, mode: 0o700 })
    await symlink(planted, link)
    expect(codeCacheFolder({ HOME: home.path }, USER)).toBeUndefined()
    expect(await readdir(planted)).toEqual([])
  })

  it('may be in a cache folder that is a link, to a place that is as safe', async () => {
    await using home = await scratch()
    await mkdir(join(home.path, 'elsewhere'), { mode: 0o700 })
    await symlink('elsewhere', join(home.path, '.cache'))
    expect(codeCacheFolder({ HOME: home.path }, USER)).toBe(join(home.path, 'elsewhere', LEAF))
    await chmod(join(home.path, 'elsewhere'), 0o777)
    expect(codeCacheFolder({ HOME: home.path }, USER)).toBeUndefined()
  })

  it('may be in a folder that all may write to, where nobody can rename it', async () => {
    expect((await stat(tmpdir())).mode & 0o1002, 'a sticky folder').toBe(0o1002)
    await using shared = await scratch()
    await chmod(shared.path, 0o1777)
    const folder = codeCacheFolder({ XDG_CACHE_HOME: shared.path }, USER)
    expect(folder).toBe(join(shared.path, LEAF))
  })

  it.runIf(USER === 0).each(['.', '.cache', '.cache/airgap', join('.cache', LEAF)])(
    'is none for root where %s is a user’s',
    async (path) => {
      await using home = await scratch()
      await mkdir(join(home.path, '.cache', LEAF), { recursive: true, mode: 0o700 })
      await chown(join(home.path, path), STRANGER, STRANGER)
      expect(codeCacheFolder({ HOME: home.path }, USER)).toBeUndefined()
    },
  )

  it.runIf(USER === 0)('is not made by root in the home of a user', async () => {
    await using home = await scratch()
    await chown(home.path, STRANGER, STRANGER)
    expect(codeCacheFolder({ HOME: home.path }, USER)).toBeUndefined()
    expect(await readdir(home.path)).toEqual([])
  })

  it('is none for a user whose folder is somebody else’s', async () => {
    await using home = await scratch()
    codeCacheFolder({ HOME: home.path }, USER)
    expect(codeCacheFolder({ HOME: home.path }, STRANGER)).toBeUndefined()
  })
})

describe('a command', () => {
  const begin = async (env: Record<string, string>): Promise<string[]> => {
    await using home = await scratch()
    // The tests have a cache of their own, which comes first.
    const { code } = await airgap(['list', 'nginx'], {
      env: { NODE_COMPILE_CACHE: '', HOME: home.path, ...env },
    })
    expect(code).toBe(0)
    return await readdir(home.path, { recursive: true })
  }

  it('keeps its compiled code there', async () => {
    const folder = join('.cache', LEAF)
    expect((await begin({})).filter((name) => name.startsWith(folder)).length).toBeGreaterThan(2)
  })

  it('keeps none with NODE_DISABLE_COMPILE_CACHE', async () => {
    expect(await begin({ NODE_DISABLE_COMPILE_CACHE: '1' })).toEqual([])
  })
})
