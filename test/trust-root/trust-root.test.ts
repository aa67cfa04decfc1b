import { createHash } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchTrustRoot } from '../../src/index.ts'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { temporaryFolder } from '../support/build-bundle.ts'
import {
  newKey,
  rootOf,
  signed,
  startRepository,
  trustedRootOf,
  type TufRepository,
} from '../support/tuf-repository.ts'

const ROOT = await trustedRootOf('https://fulcio.example.internal', '2024-02-03T00:00:00Z')

/** A repository, and the file with its first root. */
async function withRepository(
  options: Parameters<typeof startRepository>[1] = {},
): Promise<{ repository: TufRepository; folder: string; root: string }> {
  const repository = await startRepository(ROOT, options)
  const folder = await temporaryFolder()
  const root = join(folder, 'root.json')
  await writeFile(root, repository.root)
  return { repository, folder, root }
}

/** A folder for temporary files of this test alone. */
async function temporary(): Promise<string> {
  const folder = await temporaryFolder()
  vi.stubEnv('TMPDIR', folder)
  onTestFinished(() => void vi.unstubAllEnvs())
  return folder
}

describe('the trusted root of a private instance', () => {
  test('is fetched byte for byte, with what vouches for it', async () => {
    const { repository, root } = await withRepository()
    const before = await temporary()
    const fetched = await fetchTrustRoot({ mirror: `${repository.url}/`, root, retries: 0 })
    expect(fetched.bytes.equals(ROOT)).toBe(true)
    expect(fetched.digest).toBe(`sha256:${createHash('sha256').update(ROOT).digest('hex')}`)
    expect(fetched.mirror).toBe(repository.url)
    expect(fetched.metadata).toMatchObject({
      root: { version: 2 },
      timestamp: { version: 9 },
      targets: {
        version: 5,
        expires: expect.stringMatching(/Z$/) as string,
        signed: expect.any(String) as string,
      },
    })
    expect(fetched.instances[0]).toEqual({
      kind: 'certificate authority',
      name: 'https://fulcio.example.internal',
      start: '2024-02-03T00:00:00.000Z',
    })
    expect(fetched.instances.map(({ kind }) => kind)).toEqual([
      'certificate authority',
      'certificate log',
      'transparency log',
      'timestamp authority',
    ])
    expect(repository.asked).toContain('/tuf/3.root.json')
    expect(await readdir(before)).toEqual([])
  })

  test.concurrent.each<[string, (repository: TufRepository) => void]>([
    [
      'another file than was vouched for',
      ({ files }) => {
        const path = [...files.keys()].find((name) => name.includes('/targets/'))!
        files.set(path, Buffer.from(ROOT.toString().replace('2024', '2023')))
      },
    ],
    [
      'a root by other keys',
      ({ files }) => files.set('/tuf/2.root.json', signed(rootOf(2, newKey(), newKey()), [newKey()])),
    ],
  ])('is refused where the repository has %s', async (_, change) => {
    const { repository, root } = await withRepository({ kind: 'ecdsa' })
    change(repository)
    await expect(fetchTrustRoot({ mirror: repository.url, root, retries: 0 })).rejects.toMatchObject({
      code: 'VERIFICATION_FAILED',
      message: expect.stringContaining(`the content of ${repository.url} does not verify: `) as string,
    })
  })

  test('is refused where the repository has expired', async () => {
    const { repository, root } = await withRepository({ expires: -1 })
    await expect(fetchTrustRoot({ mirror: repository.url, root, retries: 0 })).rejects.toMatchObject({
      code: 'VERIFICATION_FAILED',
      hint: expect.stringMatching(/not renewed.*clock/) as string,
    })
  })

  test('cannot be had without a network, or from a place that is none', async () => {
    const { root } = await withRepository()
    const fetching = (at: string) => fetchTrustRoot({ mirror: at, root, retries: 0 })
    await expect(fetching('http://127.0.0.1:1/tuf')).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.stringMatching(
        /^cannot fetch the trusted root: the TUF repository \(http:\/\/127\.0\.0\.1:1\/tuf\/2\.root\.json\): .*connection refused/,
      ) as string,
    })
    for (const text of [
      'tuf',
      'http://tuf.example.internal',
      'https://u:p@tuf.example.internal',
      'https://h/?q',
    ]) {
      await expect(fetching(text)).rejects.toMatchObject({ code: 'USAGE' })
    }
  })

  test('ends at once when it is called off', async () => {
    const { repository, root } = await withRepository()
    const before = await temporary()
    const controller = new AbortController()
    const reason = new Error('the shift is over')
    const fetching = fetchTrustRoot({
      mirror: repository.url,
      root,
      signal: controller.signal,
      onEvent: () => controller.abort(reason),
    })
    await expect(fetching).rejects.toBe(reason)
    expect(await readdir(before)).toEqual([])
  })
})
