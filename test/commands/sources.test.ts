import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  buildkitIndex,
  dockerList,
  foreignLayerImage,
  seedRegistry,
  singleManifest,
  type Built,
} from '../../fixtures/images/index.ts'
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { MemoryStore } from '../support/registry/memory-store.ts'
import type { Quirk } from '../support/registry/quirks.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { selfSigned } from '../support/self-signed.ts'
import { scratch, session, type Outcome, type Session } from '../support/airgap.ts'

/** Where images come from: mirrors, registries that misbehave, and registries that refuse. */

let folder: Awaited<ReturnType<typeof scratch>>

beforeAll(async () => {
  folder = await scratch()
  ;({ run } = session(folder.path))
})
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
})

let run: Session['run']

async function registryWith(
  image: Built,
  options: { quirks?: Quirk[]; withForeignLayers?: boolean } = {},
): Promise<EmbeddedRegistry> {
  const store = new MemoryStore()
  seedRegistry(store, 'app:1', image, { withForeignLayers: options.withForeignLayers ?? false })
  return startRegistry({ store, quirks: options.quirks ?? [] })
}

let packs = 0
async function pack(image: string, ...flags: string[]): Promise<Outcome & { file: string }> {
  packs += 1
  const file = `pack-${packs}.tar`
  return { ...(await run(['pack', image, '--no-sign', '-o', file, ...flags])), file }
}

describe('mirrors', () => {
  it('serve the content, while the source names the digest', async () => {
    const image = await dockerList()
    await using source = await registryWith(image)
    await using mirror = await registryWith(image)
    const lock = await run([
      'resolve',
      `${source.host}/app:1`,
      '--mirror',
      `${source.host}=${mirror.host}`,
      '--json',
    ])
    expect(lock.code).toBe(0)
    expect(lock.json<{ images: { resolvedFrom: string }[] }>().images[0]?.resolvedFrom).toBe('source')
    const got = source.requests.filter(
      ({ method, path }) => method === 'GET' && !/\/referrers\/|\/tags\/list$/.test(path),
    )
    expect(got).toEqual([])
    expect(mirror.requests.some(({ path }) => path.includes('/manifests/sha256:'))).toBe(true)
    expect(mirror.requests.some(({ path }) => path.endsWith('/manifests/1'))).toBe(false)
  })

  it('name the digest with --resolve-from mirror, and the bundle says so', async () => {
    await using source = await registryWith(await dockerList('source'))
    await using mirror = await registryWith(await dockerList('mirror'))
    const flags = ['--mirror', `${source.host}=${mirror.host}`, '--resolve-from', 'mirror']
    const { file, code } = await pack(`${source.host}/app:1`, ...flags)
    expect(code).toBe(0)
    const { stdout } = await run(['verify', file, '--integrity-only', '--images'])
    expect(stdout).toContain(`${source.host}/app:1\n`)
    expect(stdout).toContain(`resolved by the mirror ${mirror.host}/app`)
    expect(source.requests.length).toBe(0)
  })

  it('are tried in order, and the source comes last', async () => {
    const image = await dockerList()
    await using source = await registryWith(image)
    await using empty = await startRegistry()
    await using damaged = await registryWith(image, { quirks: ['corrupt-blob'] })
    const flags = [empty, damaged].flatMap(({ host }) => ['--mirror', `${source.host}=${host}`])
    const { file, code } = await pack(`${source.host}/app:1`, ...flags)
    expect(code).toBe(0)
    expect((await run(['verify', file, '--integrity-only'])).code).toBe(0)
    expect(empty.requests.length).toBeGreaterThan(0)
    expect(damaged.requests.some(({ path }) => path.includes('/blobs/'))).toBe(true)
  })
})

describe('mirrors from files', () => {
  it('are told on standard error, with where they are configured', async () => {
    const image = await dockerList()
    await using source = await registryWith(image)
    await using mirror = await registryWith(image)
    await writeFile(
      folder.file('registries.conf'),
      `[[registry]]\nlocation = "${source.host}"\nblocked = false\ncolour = "red"\n[[registry.mirror]]\nlocation = "${mirror.host}"\n`,
    )
    await writeFile(
      folder.file('mirrors.yaml'),
      `configVersion: 1\nimages: ['${source.host}/app:1']\nmirrors: ['${source.host}=127.0.0.1:1/none']\n`,
    )
    const flags = ['--config', 'mirrors.yaml', '--mirrors-from', 'registries.conf']
    const resolved = await run(['resolve', ...flags.slice(2), `${source.host}/app:1`])
    expect(resolved.stderr).toContain(
      `${source.host} is read from ${mirror.host} (registries.conf), then from ${source.host} itself\n`,
    )
    expect(resolved.stderr).toContain('Warning: registries.conf:4:1: "colour" is unknown')
    expect(resolved.stdout).not.toContain(mirror.host)
    const planned = await run(['pack', ...flags, '--no-sign', '--dry-run', '--json', '-o', 'x.tar'])
    expect(planned.json<{ mirrors: unknown }>().mirrors).toEqual([
      {
        prefix: source.host,
        places: [
          { location: '127.0.0.1:1/none', origin: 'mirrors.yaml' },
          { location: mirror.host, origin: 'registries.conf' },
        ],
        registryItself: true,
      },
    ])
    expect(planned.stderr).toContain('the mirror 127.0.0.1:1 is skipped')
  })
})

describe('a mirror that refuses us', () => {
  it('is what is told, when the source is only out of reach', async () => {
    await using mirror = await answering((_request, response) => response.writeHead(401).end())
    const flags = ['--mirror', `registry.invalid=${mirror.host}`, '--resolve-from', 'mirror']
    const { code, stderr } = await run(['resolve', 'registry.invalid/app:1', ...flags])
    expect(stderr).toContain(`${mirror.host}/app`)
    expect(stderr).toContain('registry.invalid')
    expect(code).toBe(5)
  })
})

describe.concurrent('registries that misbehave and are got along with', () => {
  it.each<Quirk[]>([
    ['no-digest-header'],
    ['wrong-digest-header'],
    ['head-405'],
    ['truncate-once'],
    ['busy-once'],
    ['rate-limit-once'],
    ['ignore-range', 'truncate-once'],
  ])('%s %s', async (...quirks) => {
    await using source = await registryWith(await buildkitIndex(), { quirks: quirks.filter(Boolean) })
    // Each request that is refused once costs a wait: what refers to the image would be many.
    const few = ['--platform', 'linux/amd64', '--referrers', 'none']
    const { file, code, stderr } = await pack(`${source.host}/app:1`, ...few)
    expect(stderr).not.toContain('Error')
    // What was tried is told once a line.
    expect(stderr).not.toMatch(/(cannot [^:]+): \1/)
    expect(code).toBe(0)
    expect((await run(['verify', file, '--integrity-only'])).code).toBe(0)
  })
})

describe.concurrent('registries that are not believed', () => {
  it.each<[Quirk, string]>([
    ['corrupt-manifest', 'other content'],
    ['corrupt-blob', 'sha256:'],
    ['wrong-content-length', 'not as long as announced'],
    ['html-200', 'HTML'],
    ['endless-body', 'bytes'],
  ])('%s: 4, with the image named, and nothing left behind', async (quirk, words) => {
    const image = await singleManifest()
    await using source = await registryWith(image, { quirks: [quirk] })
    const { file, code, stderr } = await pack(
      `${source.host}/app@${image.descriptor.digest}`,
      '--retries',
      '0',
    )
    expect(stderr).toContain(`${source.host}/app`)
    expect(stderr).toContain(words)
    expect(stderr).not.toContain('    at ')
    expect(code).toBe(4)
    expect((await readdir(folder.path)).filter((name) => name.startsWith(file))).toEqual([])
  })

  it.each([
    ['schema 1', { schemaVersion: 1, name: 'app', fsLayers: [] }, 'schema 1'],
    [
      'index and manifest in one',
      {
        schemaVersion: 2,
        mediaType: OCI_INDEX,
        manifests: [],
        config: { mediaType: OCI_CONFIG, digest: '', size: 0 },
        layers: [],
      },
      'both as an index and as a manifest',
    ],
    [
      'layers and Layers',
      { schemaVersion: 2, mediaType: OCI_MANIFEST, config: {}, layers: [], Layers: [] },
      'differs only in case',
    ],
    [
      'sha512',
      {
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        config: { mediaType: OCI_CONFIG, digest: `sha512:${'a'.repeat(128)}`, size: 2 },
        layers: [],
      },
      'only sha256 is supported',
    ],
  ])('%s is refused with words', async (_name, document, words) => {
    await using server = await answering((request, response) => {
      if (!request.url?.includes('/manifests/')) return response.writeHead(200).end()
      const type =
        (document as { mediaType?: string }).mediaType ??
        'application/vnd.docker.distribution.manifest.v1+json'
      return response.writeHead(200, { 'content-type': type }).end(JSON.stringify(document))
    })
    const { code, stderr } = await run(['resolve', `${server.host}/app:1`])
    expect(stderr).toContain(words)
    expect(stderr).toContain(`${server.host}/app:1`)
    expect(code).toBe(4)
  })
})

describe.concurrent('registries that refuse', () => {
  it.each([
    [401, 5, 'AIRGAP_REGISTRY'],
    [403, 5, 'app:1'],
    [404, 4, 'app:1'],
    [500, 4, '500'],
  ])('%i ends with %i', async (status, exitCode, words) => {
    await using server = await answering((_request, response) => response.writeHead(status).end())
    const { code, stderr } = await run(['resolve', `${server.host}/app:1`, '--retries', '0'])
    expect(stderr).toContain(`${server.host}/app`)
    if (status !== 401) expect(stderr).toContain(words)
    expect(code).toBe(exitCode)
  })

  it('an unknown CA is named, with the flag that brings it', async () => {
    const tls = selfSigned()
    const store = new MemoryStore()
    seedRegistry(store, 'app:1', await singleManifest())
    await using source = await startRegistry({ store, tls })
    const refused = await run(['resolve', `${source.host}/app:1`])
    expect(refused.code).toBe(4)
    expect(refused.stderr).toContain('--ca-file')
    await writeFile(folder.file('ca.crt'), tls.cert)
    expect((await run(['resolve', `${source.host}/app:1`, '--ca-file', 'ca.crt'])).code).toBe(0)
    const skipped = await run(['resolve', `${source.host}/app:1`, '--insecure-skip-tls-verify', source.host])
    expect(skipped.code).toBe(0)
    expect(skipped.stderr).toContain('is not checked')
  })

  it('a host that is not there', async () => {
    const { code, stderr } = await run(['resolve', '127.0.0.1:1/app:1', '--retries', '0'])
    expect(code).toBe(4)
    expect(stderr).toContain('127.0.0.1:1')
    const name = await run(['resolve', 'registry.invalid/app:1', '--retries', '0'])
    expect(name.code).toBe(4)
    expect(name.stderr).toContain('registry.invalid')
  })
})

describe('foreign layers', () => {
  it('are bundled, from their URLs where the registry does not have them', async () => {
    let layer: Uint8Array = Buffer.alloc(0)
    await using cdn = await answering((_request, response) => response.writeHead(200).end(layer))
    const image = await foreignLayerImage([`http://${cdn.host}/base`])
    layer = image.layers[0]?.bytes ?? layer
    await using source = await registryWith(image)
    const { file, code, stderr } = await pack(`${source.host}/app:1`)
    expect(stderr).not.toContain('Error')
    expect(code).toBe(0)
    expect((await run(['verify', file, '--integrity-only'])).code).toBe(0)
    const bundle = await readFile(folder.file(file))
    expect(bundle.includes(layer)).toBe(true)
  })
})

async function answering(listener: RequestListener): Promise<AsyncDisposable & { host: string }> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
