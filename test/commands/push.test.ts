import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  buildkitIndex,
  dockerList,
  image,
  seedRegistry,
  singleManifest,
  AMD64,
} from '../../fixtures/images/index.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryStore } from '../support/registry/memory-store.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import type { Receipt } from '../../src/push/receipt.ts'
import { scratch, session, type Outcome, type Session } from '../support/airgap.ts'
import { startInternet, type Internet } from '../support/internet.ts'

const ENV = { AIRGAP_PASSWORD: 'corr3ct-horse' }
const KEY = ['--key', 'airgap.pub']

let folder: Awaited<ReturnType<typeof scratch>>
let internet: Internet
let mirrors: string[]
let receipts = 0

let run: Session['run']
let good: Session['good']

/** Pushes, and returns the receipt with what was printed. */
async function push(
  bundle: string,
  target: string,
  ...flags: string[]
): Promise<Outcome & { receipt: Receipt }> {
  receipts += 1
  const file = `receipt-${receipts}.json`
  const outcome = await good(['push', bundle, target, ...KEY, '--receipt', file, ...flags])
  return { ...outcome, receipt: JSON.parse(await readFile(folder.file(file), 'utf8')) as Receipt }
}

/** The digest that a tag has in an embedded registry. */
function tagOf(registry: EmbeddedRegistry, repository: string, tag: string): string | undefined {
  return registry.store.manifest(repository, tag)?.digest
}

beforeAll(async () => {
  folder = await scratch()
  ;({ run, good } = session(folder.path, ENV))
  internet = await startInternet()
  ;({ mirrors } = internet)
  await good(['keygen'])
  await good([
    'pack',
    '--kubeadm',
    'v1.36.3',
    'nginx:1.29',
    ...mirrors,
    '-o',
    'k8s.tar',
    '--key',
    'airgap.key',
  ])
  // Where the images do not matter.
  const images = ['nginx:1.29', 'pause:3.10.2', 'kube-proxy:v1.36.3', 'kube-scheduler:v1.36.3']
  const named = images.map((name) => (name.startsWith('nginx') ? name : `registry.k8s.io/${name}`))
  await good([
    'pack',
    ...named,
    '--platform',
    'linux/amd64',
    ...mirrors,
    '-o',
    'few.tar',
    '--key',
    'airgap.key',
  ])
})

afterAll(async () => {
  await internet[Symbol.asyncDispose]()
  await folder[Symbol.asyncDispose]()
})

describe('push', () => {
  it('puts every image under its own name, digests unchanged, and writes a receipt', async () => {
    await using target = await startRegistry()
    const { receipt, stdout } = await push('k8s.tar', `${target.host}/mirror`)
    for (const { source, target: name, digest, tag } of receipt.images) {
      const repository = name.slice(target.host.length + 1, name.lastIndexOf(':'))
      expect(repository).toBe(`mirror/${source.slice(0, source.lastIndexOf(':'))}`)
      expect(tagOf(target, repository, tag.name)).toBe(digest)
      expect(tag.state).toBe('created')
    }
    expect(receipt.images).toHaveLength(8)
    expect(receipt.authentication.state).toBe('signed')
    expect(receipt.totals.present.count).toBe(0)
    expect(receipt.totals.mounted.count).toBeGreaterThan(0)
    expect(stdout).toContain('every tag was read back')
  })

  it('uploads nothing the second time', async () => {
    await using target = await startRegistry()
    await push('k8s.tar', target.host)
    const before = target.requests.length
    const { receipt } = await push('k8s.tar', target.host)
    const methods = new Set(target.requests.slice(before).map(({ method }) => method))
    expect([...methods].toSorted()).toEqual(['GET', 'HEAD'])
    expect(receipt.totals.uploaded.count).toBe(0)
    expect(receipt.totals.mounted.count).toBe(0)
    expect(receipt.images.every(({ tag }) => tag.state === 'unchanged')).toBe(true)
    // The manifest under the tag is read back each time; the rest is not.
    const outcomes = receipt.images[0]?.content.map(({ digest, outcome }) => [digest, outcome])
    const root = receipt.images[0]?.digest
    expect(outcomes).toEqual(
      outcomes?.map(([digest]) => [digest, digest === root ? 'present-read-back' : 'present-not-read']),
    )
    expect(receipt.complete).toBe(true)
  })

  it('keeps the receipt in the state folder where the present one cannot be written, and says where', async () => {
    await using target = await startRegistry()
    const state = { XDG_STATE_HOME: folder.file('state') }
    // Not even root makes a file there.
    const elsewhere = session('/proc', { ...ENV, ...state })
    const flags = [folder.file('few.tar'), `${target.host}/x`, '--key', folder.file('airgap.pub')]
    const { stdout, stderr } = await elsewhere.good(['push', ...flags])
    const records = folder.file('state/airgap/receipts')
    expect(stderr).toMatch(
      /Warning: cannot write \/proc\/few\..*receipt\.json: .*goes to .*state\/airgap\/receipts/,
    )
    const files = (await readdir(records)).toSorted()
    expect(files).toEqual([
      expect.stringMatching(/^few\..*\.receipt\.json$/),
      expect.stringMatching(/^few\..*\.report\.json$/),
    ])
    expect(stdout).toContain(`${records}/${files[0]}`)
    const named = await elsewhere.run(['push', ...flags, '--receipt', 'named.json'])
    expect([named.code, named.stderr]).toEqual([7, expect.stringContaining('cannot write')])
  })

  it('sends nothing with --dry-run and shows the plan', async () => {
    await using target = await startRegistry()
    const { json } = await good(['push', 'k8s.tar', target.host, ...KEY, '--dry-run', '--json'])
    expect(json<{ images: unknown[] }>().images).toHaveLength(8)
    expect(new Set(target.requests.map(({ method }) => method))).toEqual(new Set(['HEAD']))
    expect((await readdir(folder.path)).some((name) => name.endsWith('.receipt.json'))).toBe(false)
  })

  it('puts the receipt into the present folder unless told otherwise, and never over a file', async () => {
    await using target = await startRegistry()
    await good(['push', 'few.tar', target.host, ...KEY])
    const written = (await readdir(folder.path)).filter((name) => name.endsWith('.receipt.json'))
    expect(written).toEqual([expect.stringMatching(/^few\.\d{8}T\d{9}Z\.receipt\.json$/)])
    await writeFile(folder.file('taken.json'), 'mine')
    const { code } = await run(['push', 'few.tar', target.host, ...KEY, '--receipt', 'taken.json'])
    expect(code).toBe(7)
    expect(await readFile(folder.file('taken.json'), 'utf8')).toBe('mine')
  })

  it('leaves the registry out of the path with --path strip-host', async () => {
    await using target = await startRegistry()
    const { receipt } = await push('k8s.tar', target.host, '--path', 'strip-host')
    expect(receipt.images.map(({ target: name }) => name)).toContain(`${target.host}/library/nginx:1.29`)
    expect(receipt.images.map(({ target: name }) => name)).toContain(`${target.host}/coredns/coredns:v1.14.2`)
  })

  it('maps prefixes, the longest first, so that kubeadm finds all its images', async () => {
    await using target = await startRegistry()
    const maps = ['--map', 'registry.k8s.io=k8s', '--map', 'registry.k8s.io/coredns=k8s']
    const { receipt, stdout } = await push('k8s.tar', `${target.host}/p`, ...maps)
    const names = receipt.images.map(({ target: name }) => name.slice(target.host.length))
    expect(names).toContain('/p/k8s/coredns:v1.14.2')
    expect(names).toContain('/p/k8s/kube-apiserver:v1.36.3')
    expect(names).toContain('/p/docker.io/library/nginx:1.29')
    expect(stdout).toContain(
      `  imageRepository: ${target.host}/p/k8s\n  dns:\n    imageRepository: ${target.host}/p/k8s\n`,
    )
    expect(stdout).toContain(`${target.host}/p/k8s/pause:3.10.2`)
  })

  it('prints what kubeadm and containerd need', async () => {
    await using target = await startRegistry()
    const { stdout } = await push('k8s.tar', target.host)
    expect(stdout).toContain(
      `  imageRepository: ${target.host}/registry.k8s.io\n  dns:\n    imageRepository: ${target.host}/registry.k8s.io/coredns\n`,
    )
    expect(stdout).toContain('/etc/containerd/certs.d/docker.io/hosts.toml')
    expect(stdout).toContain(`[host."http://${target.host}/v2/docker.io"]`)
  })

  it('pushes what --include and --exclude leave', async () => {
    await using target = await startRegistry()
    const { receipt } = await push(
      'k8s.tar',
      target.host,
      '--include',
      'registry.k8s.io/*',
      '--exclude',
      '*/kube-*',
    )
    expect(receipt.images.map(({ source }) => source)).toEqual([
      'registry.k8s.io/coredns/coredns:v1.14.2',
      'registry.k8s.io/etcd:3.6.8-0',
      'registry.k8s.io/pause:3.10.2',
    ])
    const none = await run(['push', 'k8s.tar', target.host, ...KEY, '--include', 'nothing'])
    expect(none.code).toBe(2)
  })

  it('[duty: present-not-read] reads blobs back with --verify-target, and sets no tag when one is damaged there', async () => {
    await using target = await startRegistry()
    const { receipt } = await push('few.tar', target.host)
    expect(receipt.images[0]?.content.some(({ outcome }) => outcome === 'present-read-back')).toBe(false)
    const second = await push('few.tar', target.host, '--verify-target')
    const blobs = second.receipt.images
      .flatMap(({ content }) => content)
      .filter(({ kind }) => kind === 'blob')
    expect(new Set(blobs.map(({ outcome }) => outcome))).toEqual(new Set(['present-read-back']))

    await using damaged = await startRegistry({ quirks: ['corrupt-blob'] })
    const refused = await run([
      'push',
      'few.tar',
      damaged.host,
      ...KEY,
      '--verify-target',
      '--retries',
      '0',
      '--receipt',
      'damaged.json',
    ])
    expect(refused.code).toBe(4)
    expect(refused.stderr).toContain(damaged.host)
    expect(damaged.store.repositories().flatMap((name) => damaged.store.tags(name) ?? [])).toEqual([])
    expect(await readdir(folder.path)).not.toContain('damaged.json')
  })

  it('reads back from every repository, because one may be damaged and the other not', async () => {
    await using target = await startRegistry()
    const { receipt } = await push('few.tar', target.host)
    const shared = receipt.images
      .flatMap(({ content }) => content)
      .find(({ outcome }) => outcome === 'mounted')
    const holders = receipt.images.filter(({ content }) =>
      content.some(({ digest }) => digest === shared?.digest),
    )
    expect(holders.length).toBeGreaterThan(1)
    const { target: name } = holders.at(-1) ?? { target: '' }
    const repository = name.slice(target.host.length + 1, name.lastIndexOf(':'))
    target.store.putBlob(repository, Buffer.alloc(shared?.size ?? 0), shared!.digest)
    const refused = await run([
      'push',
      'few.tar',
      target.host,
      ...KEY,
      '--verify-target',
      '--receipt',
      'one.json',
    ])
    expect(refused.code).toBe(6)
    expect(refused.stderr).toContain(`${target.host}/${repository}`)
  })

  it('says which --map, --include and --exclude mean nothing in this bundle', async () => {
    await using target = await startRegistry()
    const flags = ['--map', 'registry.k8s.io/nothing=x', '--exclude', 'docker.io/nginx', '--dry-run']
    const { stderr } = await good(['push', 'k8s.tar', target.host, ...KEY, ...flags])
    expect(stderr).toContain('registry.k8s.io/nothing')
    expect(stderr).toContain('--exclude docker.io/nginx matches no image')
  })

  it('[duty: present-not-read] sends again what the registry has with another length', async () => {
    await using target = await startRegistry({ quirks: ['stored-blob-empty'] })
    const store = new MemoryStore()
    const single = await singleManifest()
    seedRegistry(store, 'app:1', single)
    await using source = await startRegistry({ store })
    await good(['pack', `${source.host}/app:1`, '--key', 'airgap.key', '-o', 'single.tar'])
    seedRegistry(target.store, `${source.host.replace(':', '_')}/app:1`, single)
    const { receipt } = await push('single.tar', target.host)
    expect(receipt.totals.uploaded.count).toBeGreaterThan(0)
  })
})

describe('names of references with digests', () => {
  it('a digest alone is put by digest and tagged, tag and digest keep the tag', async () => {
    const store = new MemoryStore()
    const list = await dockerList()
    seedRegistry(store, 'team/app:1.0', list)
    await using source = await startRegistry({ store })
    await using target = await startRegistry()
    const { digest } = list.descriptor
    const name = `${source.host}/team/app`
    await good([
      'pack',
      `${name}@${digest}`,
      '--key',
      'airgap.key',
      '-o',
      'digest.tar',
      '--platform',
      'linux/amd64',
    ])
    await push('digest.tar', target.host)
    const path = `${source.host.replace(':', '_')}/team/app`
    expect(tagOf(target, path, `airgap-${digest.slice(7, 19)}`)).toBe(digest)
    expect(tagOf(target, path, digest)).toBe(digest)

    await good(['pack', `${name}:1.0@${digest}`, '--key', 'airgap.key', '-o', 'both.tar'])
    const both = await push('both.tar', target.host)
    expect(tagOf(target, path, '1.0')).toBe(digest)
    expect(both.receipt.images[0]?.target).toBe(`${target.host}/${path}:1.0`)
  })
})

describe('what is refused before anything is sent', () => {
  it('two sources with different digests on one name, every case listed', async () => {
    const store = new MemoryStore()
    seedRegistry(store, 'app:1', await singleManifest('oci'))
    const other = new MemoryStore()
    seedRegistry(other, 'app:1', await singleManifest('docker'))
    await using first = await startRegistry({ store })
    await using second = await startRegistry({ store: other })
    await using target = await startRegistry()
    const images = [`${first.host}/app:1`, `${second.host}/app:1`]
    await good(['pack', ...images, '--key', 'airgap.key', '-o', 'two.tar'])
    const { code, stderr } = await run(['push', 'two.tar', target.host, ...KEY, '--path', 'strip-host'])
    expect(code).toBe(2)
    for (const image of images) expect(stderr).toContain(image)
    expect(target.requests).toEqual([])
    await push('two.tar', target.host)
  })

  it('a name that is too long or beyond the grammar', async () => {
    await using target = await startRegistry()
    const { code, stderr } = await run(['push', 'k8s.tar', `${target.host}/${'a'.repeat(240)}`, ...KEY])
    expect(code).toBe(2)
    expect(stderr).toContain('at most 255 are allowed')
    expect(stderr).toContain('registry.k8s.io/kube-apiserver:v1.36.3')
    expect(target.requests).toEqual([])
  })

  it('a tag that would move, unless --move-tags says so; the receipt then has the old digest', async () => {
    await using target = await startRegistry()
    const old = await buildkitIndex('old')
    seedRegistry(target.store, 'docker.io/library/nginx:1.29', old)
    const refused = await run(['push', 'few.tar', target.host, ...KEY])
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain(`${target.host}/docker.io/library/nginx:1.29`)
    expect(refused.stderr).toContain(old.descriptor.digest)
    expect(refused.stderr).toContain('--move-tags')
    expect(target.requests.every(({ method }) => method === 'HEAD')).toBe(true)
    const { receipt } = await push('few.tar', target.host, '--move-tags')
    const moved = receipt.images.find(({ tag }) => tag.state === 'moved')
    expect(moved?.tag.previousDigest).toBe(old.descriptor.digest)
    expect(receipt.totals.tagsMoved).toBe(1)
  })

  it('[duty: caller-trust] a bundle that nobody answers for', async () => {
    await using target = await startRegistry()
    await good(['pack', 'nginx:1.29', ...mirrors, '--no-sign', '-o', 'unsigned.tar'])
    const noKey = await run(['push', 'unsigned.tar', target.host])
    expect(noKey.code).toBe(2)
    expect(noKey.stderr).toContain('--allow-unsigned')
    const unsigned = await run(['push', 'unsigned.tar', target.host, ...KEY])
    expect(unsigned.code).toBe(3)
    const both = await run(['push', 'unsigned.tar', target.host, ...KEY, '--allow-unsigned'])
    expect(both.code).toBe(2)
    expect(target.requests).toEqual([])
    const allowed = await good([
      'push',
      'unsigned.tar',
      target.host,
      '--allow-unsigned',
      '--receipt',
      'allowed.json',
    ])
    expect(allowed.stderr).toContain('not authenticated')
    expect(allowed.stdout).toContain('NOT CHECKED')
  })

  it('an altered bundle: exit code 3, and the target has no tag, wherever the byte is', async () => {
    const original = await readFile(folder.file('few.tar'))
    const layer = digestOf((await image('x', AMD64)).bytes)
    expect(layer).toMatch(/^sha256/)
    for (const [place, offset] of [
      ['header', 100],
      ['list', 600],
      ['near the end, in a layer', original.length - 30_000],
      ['end mark', original.length - 1],
    ] as const) {
      await using target = await startRegistry()
      const altered = Buffer.from(original)
      altered.writeUInt8((altered[offset] ?? 0) ^ 1, offset)
      await writeFile(folder.file('altered.tar'), altered)
      const { code, stderr } = await run(['push', 'altered.tar', target.host, ...KEY])
      expect({ place, code }).toEqual({ place, code: 3 })
      expect(stderr).toContain('altered.tar is not a good bundle')
      expect(target.store.repositories().flatMap((name) => target.store.tags(name) ?? [])).toEqual([])
    }
  })

  it.each(['https://registry.internal', 'bad host/x', 'registry.internal/Upper'])(
    'the target %j',
    async (target) => {
      const { code, stderr } = await run(['push', 'k8s.tar', target, ...KEY])
      expect(code).toBe(2)
      expect(stderr).toContain('REGISTRY/PREFIX')
    },
  )
})

describe('a push that breaks off', () => {
  it('between tags leaves a record of the tags that it has moved, and can be run again', async () => {
    const store = new MemoryStore()
    await using target = await startRegistry({ store })
    const old = await buildkitIndex('old')
    for (const name of ['docker.io/library/nginx:1.29', 'registry.k8s.io/pause:3.10.2'])
      seedRegistry(store, name, old)
    // The registry takes one tag, and refuses the next one.
    const { putManifest } = store
    let refuse = true
    let tags = 0
    store.putManifest = (...args: Parameters<typeof putManifest>) => {
      if (refuse && args[3] !== undefined && ++tags > 1) throw new Error('no more')
      return putManifest.apply(store, args)
    }
    const args = [
      'push',
      'few.tar',
      target.host,
      ...KEY,
      '--move-tags',
      '--receipt',
      'broken.json',
      '--concurrency',
      '1',
      '--retries',
      '0',
    ]
    const broken = await run(args)
    expect(broken.code).toBe(6)
    const file = (await readdir(folder.path)).find((name) => name.startsWith('broken.json.'))
    expect(broken.stderr).toContain(file)
    const record = JSON.parse(await readFile(folder.file(file ?? ''), 'utf8')) as Receipt
    expect(record.complete).toBe(false)
    const states = record.images.map(({ tag }) => tag.state)
    expect(states.filter((state) => state === 'not-set')).toHaveLength(states.length - 1)
    const moved = record.images.find(({ tag }) => tag.state === 'moved')
    expect(moved?.tag.previousDigest).toBe(old.descriptor.digest)
    refuse = false
    await good(args)
  })

  it('leaves a tag that somebody has set in the meantime, and sets the others', async () => {
    const store = new MemoryStore()
    const other = await buildkitIndex('other')
    let isSeeded = false
    await using target = await startRegistry({
      store,
      onRequest: ({ method }) => {
        if (method !== 'POST' || isSeeded) return
        isSeeded = true
        seedRegistry(store, 'docker.io/library/nginx:1.29', other)
      },
    })
    const { code, stderr } = await run(['push', 'few.tar', target.host, ...KEY, '--receipt', 'raced.json'])
    expect(code).toBe(6)
    expect(stderr).toContain('during this push')
    expect(tagOf(target, 'docker.io/library/nginx', '1.29')).toBe(other.descriptor.digest)
    expect(tagOf(target, 'registry.k8s.io/pause', '3.10.2')).toBeDefined()
  })
})

describe('credentials', () => {
  const auth = { bearer: { users: { robot$ci: 'right' } } }

  it("come from Docker's file, for tokens too", async () => {
    await using target = await startRegistry({ auth })
    await mkdir(folder.file('docker'), { recursive: true })
    const basic = Buffer.from('robot$ci:right').toString('base64')
    const config = { auths: { [target.host]: { auth: basic } } }
    await writeFile(folder.file('docker/config.json'), JSON.stringify(config))
    const args = ['push', 'few.tar', target.host, ...KEY, '--receipt', 'docker.json']
    expect((await run(args)).code).toBe(5)
    const { code, stderr } = await run(args, { DOCKER_CONFIG: folder.file('docker') })
    expect(stderr).not.toContain('Error')
    expect(code).toBe(0)
    expect(target.requests.filter(({ path }) => path.startsWith('/token')).length).toBeLessThan(30)
  })

  it('come from a credential helper, which is run without our secrets', async () => {
    await using target = await startRegistry({ auth })
    await mkdir(folder.file('helped'), { recursive: true })
    await mkdir(folder.file('bin'), { recursive: true })
    await writeFile(folder.file('helped/config.json'), JSON.stringify({ credsStore: 'test' }))
    const helper = [
      '#!/bin/sh',
      `env > '${folder.file('helper-environment')}'`,
      'read server',
      'printf \'{"ServerURL":"%s","Username":"robot$ci","Secret":"right"}\' "$server"',
    ]
    await writeFile(folder.file('bin/docker-credential-test'), `${helper.join('\n')}\n`, { mode: 0o755 })
    const { code, stderr } = await run(['push', 'few.tar', target.host, ...KEY, '--receipt', 'helped.json'], {
      DOCKER_CONFIG: folder.file('helped'),
      PATH: `${folder.file('bin')}:${process.env.PATH}`,
    })
    expect(stderr).not.toContain('Error')
    expect(code).toBe(0)
    expect(await readFile(folder.file('helper-environment'), 'utf8')).not.toContain('corr3ct-horse')
  })
})

describe('registries that refuse', () => {
  it('a registry that is not there: 4, named', async () => {
    const { code, stderr } = await run(['push', 'k8s.tar', '127.0.0.1:1', ...KEY, '--retries', '0'])
    expect(code).toBe(4)
    expect(stderr).toContain('127.0.0.1:1')
  })

  it('no credentials: 5, and none of them is printed when they are wrong', async () => {
    await using target = await startRegistry({ auth: { basic: { robot: 'right' } } })
    const none = await run(['push', 'few.tar', target.host, ...KEY])
    expect(none.code).toBe(5)
    expect(none.stderr).toContain(target.host)
    await writeFile(folder.file('password'), 'hunter2\n')
    const credentials = {
      AIRGAP_REGISTRY: target.host,
      AIRGAP_REGISTRY_USERNAME: 'robot',
      AIRGAP_REGISTRY_PASSWORD_FILE: folder.file('password'),
    }
    const wrong = await run(['push', 'few.tar', target.host, ...KEY], credentials)
    expect(wrong.code).toBe(5)
    expect(wrong.stderr + wrong.stdout).not.toContain('hunter2')
    await writeFile(folder.file('password'), 'right\n')
    const right = await run(['push', 'few.tar', target.host, ...KEY, '--receipt', 'right.json'], credentials)
    expect(right.stderr).not.toContain('Error')
    expect(right.code).toBe(0)
  })
})
