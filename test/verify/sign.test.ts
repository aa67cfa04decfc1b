import { generateKeyPairSync, sign as rawSign } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { chmod, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import { CHECKSUMS } from '../../src/bundle/names.ts'
import { AirgapError, sign, verify, type SigningKey, type SignOptions } from '../../src/index.ts'
import { parsePublicKey } from '../../src/trust/keys.ts'
import { archiveOf, draftOf, entriesOf, newSigner, signer, temporaryFolder } from '../support/build-bundle.ts'

const approver = newSigner('approver.pub')

interface Case {
  folder: string
  bundle: string
  output: string
  bytes: Buffer
  checksums: Buffer
  /** What lies in the folder besides the bundle. */
  files(): Promise<string[]>
  sign(more?: Partial<SignOptions>): ReturnType<typeof sign>
}

async function aCase(): Promise<Case> {
  const folder = await temporaryFolder()
  const [bundle, output] = [join(folder, 'b.tar'), join(folder, 'approved.json')]
  const entries = entriesOf(
    await draftOf([{ source: 'example.test/app:1', built: await singleManifest() }], { name: 'b.tar' }),
  )
  const bytes = archiveOf(entries)
  await writeFile(bundle, bytes)
  return {
    folder,
    bundle,
    output,
    bytes,
    checksums: Buffer.from(entries.find(({ name }) => name === CHECKSUMS)?.content ?? ''),
    files: async () => (await readdir(folder)).filter((name) => name !== 'b.tar'),
    sign: (more) => sign(bundle, { key: approver, output, keys: [signer.publicKey], ...more }),
  }
}

async function failureOf(promise: Promise<unknown>): Promise<AirgapError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(AirgapError)
  return error as AirgapError
}

/** A key that must not be asked. */
const untouched: SigningKey = {
  publicKey: approver.publicKey,
  warnings: [],
  sign: () => Promise.reject(new Error('the key was asked')),
}

describe('an approval', () => {
  test('shows what was verified before the key is asked, and goes no further where that throws', async () => {
    const { sign: run, files } = await aCase()
    const shown: string[] = []
    const error = await failureOf(
      run({
        key: untouched,
        onVerified: ({ description, bundleDigest, problems }) => {
          shown.push(...description.images.map(({ source }) => source), bundleDigest)
          expect(problems).toEqual([])
          throw new AirgapError('INTERRUPTED', 'no')
        },
      }),
    )
    expect(error.code).toBe('INTERRUPTED')
    expect(shown).toEqual(['example.test/app:1', expect.stringMatching(/^sha256:/)])
    expect(await files()).toEqual([])
  })

  test('is a file beside the bundle, by which the bundle is good for whoever trusts the approver', async () => {
    const { bundle, output, bytes, sign: run, files } = await aCase()
    const before = (await stat(bundle)).mtimeMs
    const opened = await run()
    expect(opened.authentication).toMatchObject({
      state: 'signed',
      signatures: [{ by: { key: { source: 'test.pub' } } }],
    })
    expect(opened.description.name).toBe('b.tar')
    expect(await files()).toEqual(['approved.json'])
    expect((await stat(output)).mode & 0o777).toBe(0o644)
    expect((await readFile(bundle)).equals(bytes)).toBe(true)
    expect((await stat(bundle)).mtimeMs).toBe(before)

    const keys = [approver.publicKey]
    expect((await failureOf(verify(bundle, { keys }))).code).toBe('VERIFICATION_FAILED')
    const { authentication } = await verify(bundle, { keys, signatures: [output] })
    expect(authentication).toMatchObject({
      state: 'signed',
      signatures: [{ by: { key: { source: 'approver.pub' } }, name: output }],
    })
  })

  test('can be of content alone, and of what carries no trusted signature', async () => {
    const { bundle, output, sign: run } = await aCase()
    const opened = await run({ keys: [], unauthenticated: true })
    expect(opened.authentication).toEqual({ state: 'not-checked', hasSignature: true })
    await verify(bundle, { keys: [approver.publicKey], signatures: [output] })
  })

  test('can be by every kind of key', async () => {
    const pairs = [
      generateKeyPairSync('ec', { namedCurve: 'P-384' }),
      generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ]
    const { folder, bundle, sign: run } = await aCase()
    for (const [i, { privateKey, publicKey }] of pairs.entries()) {
      const pem = Buffer.from(publicKey.export({ type: 'spki', format: 'pem' }))
      const key: SigningKey = {
        publicKey: parsePublicKey(pem, `${i}.pub`),
        warnings: [],
        sign: async (bytes) => rawSign('sha256', bytes, privateKey),
      }
      const output = join(folder, `${i}.json`)
      await run({ key, output })
      await verify(bundle, { keys: [key.publicKey], signatures: [output] })
    }
  })

  test('of an approval: a second one asks for the first', async () => {
    const { folder, output, sign: run } = await aCase()
    await run()
    const second = newSigner('second.pub')
    const more = { key: second, output: join(folder, 'second.json'), keys: [approver.publicKey] }
    expect((await failureOf(run({ ...more }))).code).toBe('VERIFICATION_FAILED')
    const { authentication } = await run({ ...more, signatures: [output] })
    expect(authentication).toMatchObject({ signatures: [{ by: { key: { source: 'approver.pub' } } }] })
  })
})

describe('nothing is signed, and no file made', () => {
  test.each<[string, (at: Case) => Partial<SignOptions> | Promise<Partial<SignOptions>>, string]>([
    [
      'where the bundle is signed by somebody else',
      () => ({ keys: [approver.publicKey] }),
      'VERIFICATION_FAILED',
    ],
    [
      'where it is another than was tried out',
      () => ({ expectDigest: 'a'.repeat(64) }),
      'VERIFICATION_FAILED',
    ],
    ['where it has another name', () => ({ expectName: 'c.tar' }), 'VERIFICATION_FAILED'],
    ['where it is older than expected', () => ({ minSequence: 8 }), 'VERIFICATION_FAILED'],
    [
      'where a byte of a layer is altered, not even without looking at who made it',
      async ({ bundle, bytes }) => {
        const at = bytes.length - 1024 - 512 + 3
        bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
        await writeFile(bundle, bytes)
        return { keys: [], unauthenticated: true }
      },
      'VERIFICATION_FAILED',
    ],
    ['without a word on trust', () => ({ keys: [] }), 'USAGE'],
    ['into a folder that is not there', ({ folder }) => ({ output: join(folder, 'none', 'x.json') }), 'FILE'],
  ])('%s', async (_, change, code) => {
    const at = await aCase()
    const more = await change(at)
    expect((await failureOf(at.sign({ key: untouched, ...more }))).code).toBe(code)
    expect(await at.files()).toEqual([])
  })

  test('over a file, or through a link', async () => {
    const at = await aCase()
    await writeFile(at.output, 'mine')
    expect((await failureOf(at.sign({ key: untouched }))).code).toBe('OUTPUT_EXISTS')
    expect(await readFile(at.output, 'utf8')).toBe('mine')
    const link = join(at.folder, 'link.json')
    await symlink(join(at.folder, 'elsewhere.json'), link)
    expect((await failureOf(at.sign({ key: untouched, output: link }))).code).toBe('OUTPUT_UNSAFE')
    expect(await at.files()).toEqual(['approved.json', 'link.json'])
  })

  test('over a file that has come while the key was asked', async () => {
    const at = await aCase()
    const slow: SigningKey = {
      ...approver,
      sign: async (bytes) => {
        await writeFile(at.output, 'mine')
        return approver.signNow(bytes)
      },
    }
    expect((await failureOf(at.sign({ key: slow }))).code).toBe('OUTPUT_EXISTS')
    expect(await readFile(at.output, 'utf8')).toBe('mine')
    expect(await at.files()).toEqual(['approved.json'])
  })

  test('of a list that was exchanged after it was verified', async () => {
    const at = await aCase()
    const onEvent: SignOptions['onEvent'] = ({ type }) => {
      if (type !== 'phase') return
      const altered = Buffer.from(at.bytes)
      altered.write('01', 512 + 10)
      writeFileSync(at.bundle, altered)
    }
    const error = await failureOf(at.sign({ key: untouched, onEvent }))
    expect(error.problems[0]?.message).toContain('changed while it was')
    expect(await at.files()).toEqual([])
  })

  test('by a key that makes something else', async () => {
    const at = await aCase()
    const liar: SigningKey = { ...approver, sign: (bytes) => newSigner().sign(bytes) }
    const error = await failureOf(at.sign({ key: liar }))
    expect(error.code).toBe('SIGNING')
    expect(error.message).toContain(approver.publicKey.fingerprint)
    expect(await at.files()).toEqual([])
  })

  test('when it is called off', async () => {
    const at = await aCase()
    const reason = new Error('home time')
    await expect(at.sign({ key: untouched, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const stop = new AbortController()
    const key: SigningKey = {
      ...approver,
      sign: async (bytes) => {
        stop.abort(reason)
        return approver.signNow(bytes)
      },
    }
    await expect(at.sign({ key, signal: stop.signal })).rejects.toBe(reason)
    expect(await at.files()).toEqual([])
  })

  test('of what cannot be read', async () => {
    const at = await aCase()
    await writeFile(at.bundle, 'not a bundle')
    expect((await failureOf(at.sign({ key: untouched }))).code).toBe('VERIFICATION_FAILED')
    await chmod(at.bundle, 0o600)
    expect(await at.files()).toEqual([])
  })
})
