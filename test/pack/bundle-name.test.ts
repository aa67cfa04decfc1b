import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { seedRegistry, singleManifest } from '../../fixtures/images/index.ts'
import { pack, type PackOptions, type Packed, type TransferEvent } from '../../src/index.ts'
import { nameOfFile } from '../../src/pack/bundle-name.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { scratch } from '../support/airgap.ts'
import { anyText } from '../support/any-text.ts'

describe('the name of a bundle after its file', () => {
  test.each([
    ['apps', 'apps.tar apps-2.tar apps_2026-11-30.tar apps-v2 apps-v2.tar apps2.tar apps.2.tar apps.tar.2'],
    ['apps', 'apps.bundle apps_20261130T120000Z.tar apps-2026-11-30T12-00-00Z.tar apps-2026-W48.tar'],
    [
      'apps',
      'apps-1.36.0-rc.1.tar apps-v1.2.3-beta2 apps-1.2.3+build.7.tar apps-30-Nov-2026.tar apps-2026q4',
    ],
    ['apps', '/media/disk-1/apps-3.tar ./apps-3.tar ../2026/apps.tar apps-1.2.3~1.tar'],
    ['k8s', 'k8s.tar k8s-1.36.3.tar k8s-1.36.3 k8s_v1.36.3.tar'],
    ['rke2', 'rke2.tar rke2-v1.36.3+rke2r1.tar rke2_7.tar'],
    ['k8s-arm64', 'k8s-arm64.tar k8s-1.36.3-arm64.tar'],
    ['k8s-linux-amd64', 'k8s-1.36.3-linux-amd64.tar'],
    ['s3', 's3.tar'],
    ['market', 'market.tar market-20.tar'],
    ['debian-12-base', 'debian-12-base.tar debian-12-base-2.tar'],
    ['registry.example.com', 'registry.example.com.tar'],
    ['bundle', '.tar 2026-11-30.tar 1.tar v2.tar -.tar ...'],
  ])('%s', (name, files) => {
    expect(files.split(' ').map(nameOfFile)).toEqual(files.split(' ').map(() => name))
  })

  test('a copy of a browser has the name of the first', () => {
    expect(['apps (2).tar', 'apps 30 Nov 2026.tar', 'äpfel-2.tar'].map(nameOfFile)).toEqual([
      'apps',
      'apps',
      'äpfel',
    ])
  })

  const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}[a-z]$/)
  const number = fc.nat({ max: 99_999 }).map(String)
  const release = fc.oneof(
    number,
    number.map((n) => `v${n}`),
    fc.tuple(number, number, number).map((parts) => parts.join('.')),
    fc.tuple(number, number, number).map((parts) => `v${parts.join('.')}`),
    fc
      .date({ min: new Date('1980-01-01'), max: new Date('2100-01-01'), noInvalidDate: true })
      .chain((date) => {
        const day = date.toISOString().slice(0, 10)
        return fc.constantFrom(
          day,
          day.replaceAll('-', ''),
          day.replaceAll('-', '_'),
          day.replaceAll('-', '.'),
        )
      }),
  )

  test('every release of a bundle has one name, and another word gives another', () => {
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 3 }),
        fc.constantFrom('-', '_', '.'),
        release,
        fc.constantFrom('.tar', '.TAR', '.oci'),
        (words, sign, number_, extension) => {
          const name = words.join('-')
          // Months are a part of dates.
          fc.pre(
            !/(?:^|-)(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec|rc|beta|alpha|v|ver|r|w|q)$/.test(
              name,
            ),
          )
          // A word such as `q0z` or `w3t1z` is a number itself.
          fc.pre(!/(?:^|-)(?:v|ver|version|r|rev|w|kw|q)?\d+(?:q[1-4]|t\d+z?|z)?$/.test(name))
          expect(nameOfFile(`${name}${extension}`)).toBe(name)
          expect(nameOfFile(`${name}${sign}${number_}${extension}`)).toBe(name)
        },
      ),
    )
  })

  test('there always is one, and it is not longer than the file’s', () => {
    fc.assert(
      fc.property(anyText({ maxLength: 60 }), (file) => {
        const name = nameOfFile(file)
        expect(name).not.toBe('')
        expect(name === 'bundle' || name.length <= Math.max(file.length, 'bundle'.length + 12)).toBe(true)
      }),
    )
  })
})

let source: EmbeddedRegistry
let folder: string

beforeAll(async () => {
  source = await startRegistry()
  seedRegistry(source.store, 'app:1', await singleManifest())
  const made = await scratch()
  folder = made.path
  return async () => {
    await source.close()
    await made[Symbol.asyncDispose]()
  }
})

interface Told {
  packed: Packed
  notes: string[]
  warnings: string[]
}

async function packed(output: string | undefined, more: Partial<PackOptions> = {}): Promise<Told> {
  const notes: string[] = []
  const warnings: string[] = []
  const result = await pack({
    images: [`${source.host}/app:1`],
    registries: { plainHttp: [source.host] },
    key: 'unsigned',
    created: 1_790_000_000_000,
    output: output === undefined ? undefined : join(folder, output),
    ...more,
    onEvent: (event: TransferEvent) => {
      if (event.type === 'warning') warnings.push(event.message)
      if (event.type === 'registry' && event.notice.type === 'note') notes.push(event.notice.message)
    },
  })
  return { packed: result, notes, warnings }
}

const path = (name: string): string => join(folder, name)

describe('the name of a bundle that is packed', () => {
  test('without a word it is that of the file, and is said; in a plan too', async () => {
    const { packed: made, notes } = await packed('first-1.tar')
    expect(made.description.name).toBe('first')
    expect(notes).toContainEqual(
      expect.stringMatching(/^The bundle is called "first", after its file\. .* refuses an older one$/),
    )
    const plan = await packed(undefined, { fileName: 'first-2.tar' })
    expect(plan.packed.description.name).toBe('first')
    expect((await packed(undefined)).packed.description.name).toBe('bundle')
  })

  test('that of the bundle which blobs are taken from, whatever the file is called', async () => {
    await packed('named.tar', { name: 'product' })
    const again = await packed('else-2.tar', { reuse: [path('named.tar')], created: 1_790_000_001_000 })
    expect(again.packed.description.name).toBe('product')
    expect(again.notes).toContainEqual(
      expect.stringMatching(/^The bundle is called "product", like the one that it takes blobs from\. /),
    )
    expect(again.warnings).toEqual([])
  })

  test('of several that have different names, none; and what is said wins, and is told of', async () => {
    await packed('a.tar', { name: 'a' })
    await packed('b.tar', { name: 'b' })
    const reuse = [path('a.tar'), path('b.tar')]
    expect((await packed('c-7.tar', { reuse })).packed.description.name).toBe('c')
    const { packed: made, notes } = await packed('d.tar', { name: 'd', reuse: [path('a.tar')] })
    expect(made.description.name).toBe('d')
    expect(notes).toContainEqual(
      'Blobs are taken from "a", but this bundle is called "d": push does not treat them as releases of one bundle.',
    )
  })

  test('an unfinished one says it, too; what is no bundle says nothing, and is told of as before', async () => {
    await packed('whole.tar', { name: 'begun' })
    await rename(path('whole.tar'), path('other.tar.partial'))
    const { packed: made } = await packed('e.tar', { reuse: [path('other.tar.partial')] })
    expect(made.description.name).toBe('begun')
    await expect(packed('f.tar', { reuse: [path('none.tar')] })).rejects.toMatchObject({ code: 'FILE' })
  })
})

describe('a sequence that push will not take as it is meant', () => {
  test('one that is not above that of the release before', async () => {
    await packed('r1.tar', { name: 'r', sequence: 9 })
    const older = await packed('r2.tar', { reuse: [path('r1.tar')], sequence: 8 })
    expect(older.warnings).toEqual([
      expect.stringMatching(
        /^the sequence of this bundle, 8, is lower than that of the one it takes blobs from, "r" 9: .* as an older bundle\. Give a higher sequence$/,
      ),
    ])
    const same = await packed('r3.tar', { reuse: [path('r1.tar')], sequence: 9, version: '2' })
    expect(same.warnings).toEqual([expect.stringContaining('because two bundles claim one sequence')])
    expect((await packed('r4.tar', { reuse: [path('r1.tar')], sequence: 9 })).warnings).toEqual([])
  })

  test('one that comes after a release of the future says that a clock was wrong', async () => {
    await packed('future.tar', { name: 'z', created: Date.parse('2199-01-01') })
    const { warnings } = await packed('now.tar', { reuse: [path('future.tar')] })
    expect(warnings).toEqual([
      expect.stringMatching(
        /"z" 7226582400: .* created 2199-01-01T00:00:00Z, but this machine's clock says /,
      ),
    ])
  })

  test('one by a clock that is ahead of a registry’s outranks every right one; a sequence that was given does not', async () => {
    // The same registry behind a clock that is two hours slow.
    const slow = createServer((incoming, outgoing) => {
      const { method, headers, url } = incoming
      incoming.pipe(
        request(
          { host: '127.0.0.1', port: new URL(`http://${source.host}`).port, method, headers, path: url },
          (answer) => {
            outgoing.writeHead(answer.statusCode ?? 0, {
              ...answer.headers,
              date: new Date(Date.now() - 7_200_000).toUTCString(),
            })
            answer.pipe(outgoing)
          },
        ),
      )
    })
    await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve))
    const host = `127.0.0.1:${(slow.address() as AddressInfo).port}`
    const there = { images: [`${host}/app:1`], registries: { plainHttp: [host] } }
    try {
      const { warnings, packed: made } = await packed('ahead.tar', { ...there, created: undefined })
      expect(warnings).toEqual([
        expect.stringMatching(
          new RegExp(
            `^the clock of this machine may be in the future: the bundle is created ${made.description.created}, but ${host} says that it is .* The sequence, ${made.description.sequence}, comes from that clock: until that time, push refuses`,
          ),
        ),
      ])
      expect((await packed('given.tar', { ...there, created: undefined, sequence: 7 })).warnings).toEqual([])
      expect((await packed('past.tar', there)).warnings).toEqual([])
    } finally {
      slow.close()
      slow.closeAllConnections()
    }
  })
})
