import { createHash } from 'node:crypto'
import { mkdir, mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  buildkitIndex,
  dockerList,
  foreignLayerImage,
  helmChart,
  image,
  AMD64,
  buildIndex,
  referrerTo,
  seedRegistry,
  umociIndex,
  type Built,
  type BuiltImage,
} from '../../fixtures/images/index.ts'
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { Airgap, describeEnd, type PushReceipt } from './parts/airgap.ts'
import { run } from './parts/processes.ts'
import {
  startCraneRegistry,
  startDistribution3,
  startDockerRegistry,
  startZot,
  type Registry,
} from './parts/registries.ts'
import { scratch } from './parts/scratch.ts'
import { withParts, type Part } from './parts/tools.ts'

/** Registries that others have written, and what each is known to do besides the specification. */
interface Stranger {
  name: string
  part: Part
  start: (folder: string, foreignLayers?: string) => Promise<Registry>
  /** Manifests with foreign layers. */
  foreignLayers: 'taken' | 'refused unless allowed'
  checks?: (at: () => Wire) => void
}

/** One repository, spoken to directly. */
interface Wire {
  host: string
  ask: (path: string, init?: RequestInit) => Promise<Response>
  putManifest: (
    reference: string,
    built: { bytes: Uint8Array; type: string },
    headers?: object,
  ) => Promise<Response>
}

const REPOSITORY = 'direct/app'

/** docker-registry 2.8 and distribution 3 are the same code in this. */
function distributionChecks(at: () => Wire): void {
  const list = dockerList('direct')
  beforeAll(async () => {
    await pushDirectly(at(), 'list', await list)
  })

  test('picks amd64 where nobody accepts lists', async () => {
    const amd64 = ((await list).children as BuiltImage[]).find(
      ({ descriptor }) => descriptor.platform?.architecture === 'amd64',
    )
    const answer = await at().ask('manifests/list', { headers: { accept: DOCKER_MANIFEST } })
    expect(digestOf(await bytesOf(answer))).toBe(amd64?.descriptor.digest)
    const whole = await at().ask('manifests/list', { headers: { accept: DOCKER_LIST } })
    expect(digestOf(await bytesOf(whole))).toBe((await list).descriptor.digest)
  })

  test('answers 404 where nobody accepts OCI', async () => {
    const oci = await image('direct', AMD64)
    await pushDirectly(at(), 'oci', oci)
    const answer = await at().ask('manifests/oci', { headers: { accept: DOCKER_MANIFEST } })
    expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('OCI manifest found')])
  })

  test('takes no blob in a single POST', async () => {
    const bytes = Buffer.from('in one step')
    const answer = await at().ask(`blobs/uploads/?digest=${digestOf(bytes)}`, { method: 'POST', body: bytes })
    expect([answer.status, answer.headers.get('location')]).toEqual([202, expect.stringContaining('_state=')])
    expect((await at().ask(`blobs/${digestOf(bytes)}`, { method: 'HEAD' })).status).toBe(404)
  })

  test('does not look at If-Match', async () => {
    const index = await dockerList('direct')
    const wrong = { 'if-match': `"${digestOf(Buffer.from('something else'))}"` }
    const answer = await at().putManifest('list', { bytes: index.bytes, type: DOCKER_LIST }, wrong)
    expect(answer.status).toBe(201)
  })

  test('refuses an index whose children are missing', async () => {
    const missing = await dockerList('missing')
    const answer = await at().putManifest('missing', { bytes: missing.bytes, type: DOCKER_LIST })
    expect([answer.status, await answer.text()]).toEqual([
      400,
      expect.stringContaining('MANIFEST_BLOB_UNKNOWN'),
    ])
  })
}

const STRANGERS: Stranger[] = [
  {
    name: 'docker-registry 2.8',
    part: 'docker-registry',
    start: (folder, foreignLayers) =>
      startDockerRegistry({ store: join(folder, 'store'), scratch: folder, foreignLayers }),
    foreignLayers: 'refused unless allowed',
    checks: distributionChecks,
  },
  {
    name: 'distribution 3',
    part: 'registry',
    start: (folder, foreignLayers) =>
      startDistribution3({ store: join(folder, 'store'), scratch: folder, foreignLayers }),
    foreignLayers: 'refused unless allowed',
    checks: distributionChecks,
  },
  {
    name: "crane's registry",
    part: 'crane',
    start: (folder) => startCraneRegistry(join(folder, 'store')),
    foreignLayers: 'taken',
    checks(at) {
      test('does not understand an open range', async () => {
        const built = await image('direct', AMD64)
        await pushDirectly(at(), 'range', built)
        const path = `blobs/${built.config.descriptor.digest}`
        expect((await at().ask(path, { headers: { range: 'bytes=1-' } })).status).toBe(416)
        expect((await at().ask(path, { headers: { range: 'bytes=1-2' } })).status).toBe(206)
      })

      test('refuses an index whose children are missing, with 404', async () => {
        const missing = await dockerList('missing')
        const answer = await at().putManifest('missing', { bytes: missing.bytes, type: DOCKER_LIST })
        expect([answer.status, await answer.text()]).toEqual([
          404,
          expect.stringContaining('MANIFEST_UNKNOWN'),
        ])
      })
    },
  },
  {
    name: 'zot',
    part: 'zot',
    start: (folder) => startZot(join(folder, 'store'), folder),
    foreignLayers: 'taken',
  },
]

withParts('strangers', ['skopeo'], () => {
  let source: EmbeddedRegistry
  let folder: Awaited<ReturnType<typeof scratch>>
  let airgap: Airgap
  const images = new Map<string, Built>()

  beforeAll(async () => {
    folder = await scratch()
    source = await startRegistry()
    airgap = new Airgap(folder.path)
    await airgap.run('keygen')
    const one = await image('subject', AMD64)
    images.set('kit/app:1', await buildkitIndex())
    images.set('list/app:1', await dockerList())
    images.set('umoci/app:1', await umociIndex())
    images.set('charts/hello:0.1.0', await helmChart())
    images.set(
      'signed/app:1',
      buildIndex([one, referrerTo(one.descriptor, 'application/vnd.example', 'signed')]),
    )
    for (const [name, built] of images) seedRegistry(source.store, name, built)
    const foreign = await foreignLayerImage(['https://images.example.test/layer'])
    seedRegistry(source.store, 'windows/app:1', foreign, { withForeignLayers: true })
    images.set('windows/app:1', foreign)
    await pack(
      'all',
      source.host,
      [...images.keys()].filter((name) => !name.startsWith('windows')),
    )
    await pack('foreign', source.host, ['windows/app:1'])
  })
  afterAll(async () => {
    await source?.close()
    await folder?.[Symbol.asyncDispose]()
  })

  const file = (name: string): string => join(folder.path, `${name}.tar`)

  async function pack(name: string, host: string, names: readonly string[]): Promise<Map<string, string>> {
    const references = names.map((reference) => `${host}/${reference}`)
    await airgap.run('pack', ...references, '-o', file(name), '--key', 'airgap.key')
    const { images: packed } = await airgap.json<{ images: { source: string; digest: string }[] }>(
      'inspect',
      file(name),
    )
    return new Map(packed.map(({ source: from, digest }) => [from.slice(host.length + 1), digest]))
  }

  for (const { name, part, start, foreignLayers, checks } of STRANGERS) {
    withParts(name, [part], () => {
      let place: string
      let registry: Registry

      beforeAll(async () => {
        place = await mkdtemp(join(folder.path, `${part}-`))
        await mkdir(join(place, 'store'))
        registry = await start(place)
      })
      afterAll(() => registry?.[Symbol.asyncDispose]())

      const push = (bundle: string, host: string, ...flags: string[]) =>
        airgap.attempt('push', file(bundle), host, '--path', 'strip-host', '--key', 'airgap.pub', ...flags)
      const wire = (): Wire => wireTo(registry.host)

      test('takes everything but foreign layers, and gives it back the same: lists, artifacts, manifests without mediaType', async () => {
        const pushed = await push('all', registry.host, '--json', '--verify-target')
        expect(pushed.code, describeEnd(pushed)).toBe(0)
        const receipt = JSON.parse(pushed.stdout) as PushReceipt
        const names = receipt.images.map(({ target }) => target.slice(registry.host.length + 1))
        const back = await pack(`back-from-${part}`, registry.host, names)
        for (const reference of names) {
          const digest = images.get(reference)?.descriptor.digest
          expect(back.get(reference), reference).toBe(digest)
          const raw = await run('skopeo', [
            'inspect',
            '--raw',
            '--tls-verify=false',
            `docker://${registry.host}/${reference}`,
          ])
          expect(digestOf(Buffer.from(raw)), reference).toBe(digest)
        }
        expect(names).toHaveLength(images.size - 1)
      })

      test('what refers to an image is found there, by the list or by the tag that stands in for it', async () => {
        const signed = images.get('signed/app:1')
        const [subject, signature] = signed?.kind === 'index' ? signed.children : []
        const digest = subject?.descriptor.digest ?? ''
        const path = (rest: string): string => `http://${registry.host}/v2/signed/app/${rest}`
        let list = await fetch(path(`referrers/${digest}`))
        if (part !== 'zot') {
          // The registry has no list of referrers.
          expect(list.status).toBe(404)
          list = await fetch(path(`manifests/${digest.replace(':', '-')}`), {
            headers: { accept: OCI_INDEX },
          })
        }
        const { manifests } = (await list.json()) as { manifests: { digest: string; artifactType: string }[] }
        expect(manifests).toEqual([
          expect.objectContaining({
            digest: signature?.descriptor.digest,
            artifactType: 'application/vnd.example',
          }),
        ])
        // A second push finds it there, and writes nothing.
        const again = await push('all', registry.host, '--json')
        expect(again.code, describeEnd(again)).toBe(0)
        expect(again.stderr).not.toContain('refers to an image')
      })

      test(
        foreignLayers === 'taken'
          ? 'takes foreign layers like others'
          : 'does not take foreign layers, and the error names the setting',
        async () => {
          const pushed = await push('foreign', registry.host)
          if (foreignLayers === 'taken') {
            expect(pushed.code, describeEnd(pushed)).toBe(0)
            return
          }
          expect(pushed.code, describeEnd(pushed)).toBe(4)
          expect(pushed.stderr).toContain('500')
          expect(pushed.stderr).toContain('validation.manifests.urls.allow')
          // It calls them unknown, though they have just been sent: nothing was dropped.
          expect(pushed.stderr).not.toContain('garbage collection')
          const other = await mkdtemp(join(folder.path, `${part}-`))
          await mkdir(join(other, 'store'))
          await using allowing = await start(other, '^https://images\\.example\\.test/')
          const allowed = await push('foreign', allowing.host)
          expect(allowed.code, describeEnd(allowed)).toBe(0)
          const back = await pack(`foreign-from-${part}`, allowing.host, ['windows/app:1'])
          expect(back.get('windows/app:1')).toBe(images.get('windows/app:1')?.descriptor.digest)
        },
      )

      test(
        part === 'crane' ? 'takes a manifest of any size' : 'does not take a manifest of more than 4 MiB',
        async () => {
          const config = await putBlob(wire(), Buffer.from('{}'))
          const manifest = {
            schemaVersion: 2,
            mediaType: OCI_MANIFEST,
            config: { mediaType: 'application/vnd.oci.empty.v1+json', ...config },
            layers: [],
            annotations: { long: 'x'.repeat(5 * 1024 * 1024) },
          }
          const bytes = Buffer.from(JSON.stringify(manifest))
          const answer = await wire().putManifest('long', { bytes, type: OCI_MANIFEST })
          if (part === 'crane') expect(answer.status).toBe(201)
          else expect([400, 413]).toContain(answer.status)
        },
      )

      test('takes a manifest without mediaType', async () => {
        const config = await putBlob(wire(), Buffer.from('{}'))
        const manifest = {
          schemaVersion: 2,
          config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
          layers: [],
        }
        const bytes = Buffer.from(JSON.stringify(manifest))
        expect((await wire().putManifest('bare', { bytes, type: OCI_MANIFEST })).status).toBe(201)
      })

      if (checks) describe('as is known of it', () => checks(wire))
    })
  }
})

function wireTo(host: string): Wire {
  const ask: Wire['ask'] = (path, init) => fetch(`http://${host}/v2/${REPOSITORY}/${path}`, init)
  return {
    host,
    ask,
    putManifest: (reference, { bytes, type }, headers = {}) =>
      ask(`manifests/${reference}`, {
        method: 'PUT',
        body: Buffer.from(bytes),
        headers: { 'content-type': type, ...headers },
      }),
  }
}

async function putBlob({ host, ask }: Wire, bytes: Uint8Array): Promise<{ digest: string; size: number }> {
  const digest = digestOf(bytes)
  const session = await ask('blobs/uploads/', { method: 'POST' })
  const location = new URL(session.headers.get('location') ?? '', `http://${host}`)
  location.searchParams.set('digest', digest)
  expect((await fetch(location, { method: 'PUT', body: Buffer.from(bytes) })).status).toBe(201)
  return { digest, size: bytes.length }
}

async function pushDirectly(wire: Wire, reference: string, built: Built): Promise<void> {
  if (built.kind === 'index') {
    for (const child of built.children) await pushDirectly(wire, child.descriptor.digest, child)
  } else {
    for (const { bytes } of [built.config, ...built.layers]) await putBlob(wire, bytes)
  }
  const put = await wire.putManifest(reference, { bytes: built.bytes, type: built.descriptor.mediaType })
  expect(put.status, await put.text()).toBe(201)
}

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer())
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
