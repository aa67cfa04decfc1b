import { writeFileSync } from 'node:fs'
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createWhole } from '../../src/files/create-whole.ts'
import { writeKeyPair } from '../../src/trust/key-files.ts'
import { readPrivateKey, readPublicKey } from '../../src/trust/keys.ts'
import { errorOf, temporaryFolder } from './helpers.ts'

describe('writeKeyPair', () => {
  it('writes two files that belong together, and nothing else', async () => {
    const folder = await temporaryFolder()
    const prefix = join(folder, 'airgap')
    const made = await writeKeyPair({ prefix, password: 'secret' })
    expect(made).toMatchObject({
      privateKeyFile: `${prefix}.key`,
      publicKeyFile: `${prefix}.pub`,
      warnings: [],
    })
    expect((await readdir(folder)).toSorted()).toEqual(['airgap.key', 'airgap.pub'])
    const privateKey = await readPrivateKey(made.privateKeyFile, () => Promise.resolve('secret'))
    const publicKey = await readPublicKey(made.publicKeyFile)
    expect(privateKey.warnings).toEqual([])
    expect([privateKey.publicKey.fingerprint, publicKey.fingerprint]).toEqual([
      made.fingerprint,
      made.fingerprint,
    ])
  })

  it.skipIf(process.platform === 'win32')(
    '[duty: key-files] keeps the private key to its owner',
    async () => {
      const prefix = join(await temporaryFolder(), 'airgap')
      const { privateKeyFile } = await writeKeyPair({ prefix, password: 'x' })
      expect((await stat(privateKeyFile)).mode & 0o777).toBe(0o600)
    },
  )

  it('says that an empty password protects nothing', async () => {
    const prefix = join(await temporaryFolder(), 'airgap')
    const { warnings, privateKeyFile } = await writeKeyPair({ prefix, password: '' })
    expect(warnings).toEqual([expect.stringContaining(privateKeyFile)])
  })

  it.each([[['key']], [['pub']], [['key', 'pub']]])(
    '[duty: key-files] never overwrites: %j in the way',
    async (endings) => {
      const folder = await temporaryFolder()
      for (const ending of endings) await writeFile(join(folder, `a.${ending}`), 'precious')
      const error = await errorOf(() => writeKeyPair({ prefix: join(folder, 'a'), password: 'x' }))
      expect(error.code).toBe('OUTPUT_EXISTS')
      for (const ending of ['key', 'pub']) {
        expect(error.message.includes(join(folder, `a.${ending}`))).toBe(endings.includes(ending))
      }
      expect((await readdir(folder)).toSorted()).toEqual(endings.map((ending) => `a.${ending}`))
      for (const ending of endings) {
        expect(await readFile(join(folder, `a.${ending}`), 'utf8')).toBe('precious')
      }
    },
  )

  it.each(['key', 'pub'])(
    '[duty: key-files] follows no link at .%s, not even one that points nowhere',
    async (ending) => {
      const folder = await temporaryFolder()
      await symlink(join(folder, 'elsewhere'), join(folder, `a.${ending}`))
      const error = await errorOf(() => writeKeyPair({ prefix: join(folder, 'a'), password: 'x' }))
      expect(error.code).toBe('OUTPUT_EXISTS')
      expect(await readdir(folder)).toEqual([`a.${ending}`])
    },
  )

  it('[duty: key-files] leaves no private key when the public one cannot be written', async () => {
    const folder = await temporaryFolder()
    const error = await errorOf(() =>
      writeKeyPair({
        prefix: join(folder, 'a'),
        // Read after the first look at the folder: somebody else makes the file in between.
        get password() {
          writeFileSync(join(folder, 'a.pub'), 'precious')
          return 'x'
        },
      }),
    )
    expect(error.code).toBe('OUTPUT_EXISTS')
    expect(error.message).toContain(join(folder, 'a.pub'))
    expect(await readdir(folder)).toEqual(['a.pub'])
    expect(await readFile(join(folder, 'a.pub'), 'utf8')).toBe('precious')
  })

  it('leaves nothing when the private key cannot be written', async () => {
    const folder = await temporaryFolder()
    const error = await errorOf(() =>
      writeKeyPair({
        prefix: join(folder, 'a'),
        get password() {
          writeFileSync(join(folder, 'a.key'), 'precious')
          return 'x'
        },
      }),
    )
    expect(error.code).toBe('OUTPUT_EXISTS')
    expect(error.message).toContain(join(folder, 'a.key'))
    expect(await readdir(folder)).toEqual(['a.key'])
    expect(await readFile(join(folder, 'a.key'), 'utf8')).toBe('precious')
  })

  it('names the file when there is no such folder', async () => {
    const prefix = join(await temporaryFolder(), 'none', 'a')
    const error = await errorOf(() => writeKeyPair({ prefix, password: 'x' }))
    expect(error.code).toBe('FILE')
    expect(error.message).toContain(`${prefix}.key`)
  })

  it.each(['', 'keys/', '/'])('wants a file name in the prefix %j', async (prefix) => {
    expect((await errorOf(() => writeKeyPair({ prefix, password: 'x' }))).code).toBe('USAGE')
  })
})

describe('createWhole', () => {
  const failWith = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }))

  it.each(['EPERM', 'ENOTSUP', 'EOPNOTSUPP'])('does without hard links (%s)', async (code) => {
    const folder = await temporaryFolder()
    const path = join(folder, 'f')
    await createWhole(path, 'whole', 0o600, failWith(code))
    expect(await readdir(folder)).toEqual(['f'])
    expect(await readFile(path, 'utf8')).toBe('whole')
    expect((await stat(path)).mode & 0o077).toBe(0)
  })

  it('overwrites nothing there either', async () => {
    const folder = await temporaryFolder()
    await symlink(join(folder, 'elsewhere'), join(folder, 'f'))
    const error = await errorOf(() => createWhole(join(folder, 'f'), 'new', 0o600, failWith('EPERM')))
    expect(error.code).toBe('OUTPUT_EXISTS')
    expect(await readdir(folder)).toEqual(['f'])
  })

  it('passes other faults on and leaves nothing', async () => {
    const folder = await temporaryFolder()
    const error = await errorOf(() => createWhole(join(folder, 'f'), 'new', 0o600, failWith('ENOSPC')))
    expect(error.code).toBe('DISK_FULL')
    expect(await readdir(folder)).toEqual([])
  })
})
