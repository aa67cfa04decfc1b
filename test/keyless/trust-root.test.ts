import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fetchTrustRoot } from '../../src/index.ts'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../bundle/build-bundle.ts'
import { in_, newKey, rootOf, signed, startRepository, type TufRepository } from './tuf-repository.ts'

const ROOT = Buffer.from(
  `{\n  "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",\n  "tlogs": [], "ctlogs": [], "timestampAuthorities": [],
  "certificateAuthorities": [{"uri": "https://fulcio.example.internal", "subject": {"commonName": "ca"}, "certChain": {"certificates": []}, "validFor": {"start": "2024-02-03T00:00:00Z"}}]\n}\n`,
)

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

async function leftInTemporary(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith('airgap-trust-root-'))
}

describe('the trusted root of a private instance', () => {
  test.each(['ed25519', 'ecdsa'] as const)(
    'is fetched byte for byte, with what vouches for it (%s)',
    async (kind) => {
      const { repository, root } = await withRepository({ kind })
      const before = await leftInTemporary()
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
      expect(fetched.instances).toEqual([
        {
          kind: 'certificate authority',
          name: 'https://fulcio.example.internal',
          start: '2024-02-03T00:00:00.000Z',
        },
      ])
      expect(repository.asked).toContain('/tuf/3.root.json')
      expect(await leftInTemporary()).toEqual(before)
    },
  )

  test('is refused where the repository does not verify', async () => {
    const { repository, root } = await withRepository()
    const { url: mirror, files } = repository
    const outcome = () => fetchTrustRoot({ mirror, root, retries: 0 })
    const target = [...files.keys()].find((path) => path.includes('/targets/'))!
    const good = new Map(files)
    const changed: [string, string, Buffer][] = [
      ['another target', target, Buffer.from(ROOT.toString().replace('2024', '2023'))],
      ['a longer target', target, Buffer.concat([ROOT, Buffer.alloc(100_000)])],
      ['a root by another key', '/tuf/2.root.json', signed(rootOf(2, newKey(), newKey()), [newKey()])],
      [
        'a timestamp that says otherwise',
        '/tuf/timestamp.json',
        Buffer.from(good.get('/tuf/timestamp.json')!.toString().replace('"version":9', '"version":8')),
      ],
    ]
    for (const [what, path, bytes] of changed) {
      files.set(path, bytes)
      await expect(outcome(), what).rejects.toMatchObject({
        code: 'VERIFICATION_FAILED',
        message: expect.stringContaining(`what ${mirror} gives does not verify: `) as string,
      })
      files.set(path, good.get(path)!)
    }
    expect((await outcome()).bytes.equals(ROOT)).toBe(true)
  })

  test('is refused where the repository has expired, or was made for others', async () => {
    const { repository, root } = await withRepository({ expires: -1 })
    const { url: mirror } = repository
    await expect(fetchTrustRoot({ mirror, root, retries: 0 })).rejects.toMatchObject({
      code: 'VERIFICATION_FAILED',
      hint: expect.stringMatching(/not been renewed.*clock/) as string,
    })
    // Without a root of its own, it is measured by that of the public instance.
    await expect(fetchTrustRoot({ mirror, retries: 0 })).rejects.toMatchObject({
      hint: expect.stringMatching(/--root/) as string,
    })
    expect(in_(0)).toMatch(/Z$/)
  })

  test('cannot be had: without a network, from a place that is none, of any size', async () => {
    const { repository, root } = await withRepository()
    const { url: mirror, files } = repository
    const fetching = (at: string) => fetchTrustRoot({ mirror: at, root, retries: 0 })
    await expect(fetching('http://127.0.0.1:1/tuf')).rejects.toMatchObject({
      code: 'NETWORK',
      message: expect.stringMatching(
        /^cannot fetch the trusted root: the TUF repository \(http:\/\/127\.0\.0\.1:1\/tuf\/2\.root\.json\): .*connection refused/,
      ) as string,
    })
    files.delete('/tuf/timestamp.json')
    await expect(fetching(mirror)).rejects.toMatchObject({
      code: 'REGISTRY',
      message: expect.stringMatching(/404 Not Found/) as string,
    })
    files.set('/tuf/timestamp.json', Buffer.alloc(9_000_000, ' '))
    await expect(fetching(mirror)).rejects.toMatchObject({
      message: expect.stringMatching(/more than 8388608 bytes/) as string,
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
    const before = await leftInTemporary()
    const controller = new AbortController()
    const reason = new Error('the shift is over')
    const fetching = fetchTrustRoot({
      mirror: repository.url,
      root,
      signal: controller.signal,
      onEvent: () => controller.abort(reason),
    })
    await expect(fetching).rejects.toBe(reason)
    expect(await leftInTemporary()).toEqual(before)
  })
})
