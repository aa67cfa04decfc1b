import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { Writable } from 'node:stream'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import {
  AMD64,
  buildImage,
  dockerList,
  image as smallImage,
  seedRegistry,
  seededBytes,
  type Built,
  type BuiltImage,
} from '../../fixtures/images/index.ts'
import { BUNDLE_TYPE } from '../../src/bundle/description.ts'
import { AirgapError } from '../../src/errors.ts'
import { knownMirrors, type MirrorOptions } from '../../src/inputs/mirrors/known.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { formatReference, parseReference } from '../../src/oci/reference.ts'
import type { RegistryOptions } from '../../src/registry/client.ts'
import type { RegistryNotice } from '../../src/registry/notices.ts'
import { MemoryStore } from '../support/registry/memory-store.ts'
import {
  startRegistry,
  type EmbeddedRegistry,
  type EmbeddedRegistryOptions,
} from '../support/registry/registry.ts'
import type { TransferEvent } from '../../src/content/events.ts'
import type { Lock } from '../../src/pack/lock.ts'
import { planPack } from '../../src/pack/plan.ts'
import { resolveImages } from '../../src/pack/resolve-images.ts'
import { packToStream } from '../../src/pack/to-stream.ts'
import { makeCertificate } from '../support/certificates.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  makeClient,
  memoryRegistry,
  registryError,
  sampleManifest,
  scratch,
  serve,
  type Handler,
  type TestServer,
} from '../support/client.ts'
import { selfSigned } from '../support/self-signed.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

/** Images that are read over mirrors, from the reading of the configuration to the last byte. */

let app: BuiltImage
let large: BuiltImage

beforeAll(async () => {
  app = await smallImage('app', AMD64, { layers: 3 })
  large = await buildImage({
    platform: AMD64,
    files: { 'large.bin': seededBytes('large', 3_000_000) },
    compression: 'none',
  })
})

async function registryWith(
  images: Record<string, Built>,
  options: EmbeddedRegistryOptions = {},
): Promise<EmbeddedRegistry> {
  const store = new MemoryStore()
  for (const [name, image] of Object.entries(images)) seedRegistry(store, name, image)
  const registry = await startRegistry({ store, ...options })
  onTestFinished(() => registry.close())
  return registry
}

interface RunOptions extends MirrorOptions {
  resolveFrom?: 'source' | 'mirror'
  client?: RegistryOptions
}

interface Outcome {
  lock: Lock
  /** Hash of the bundle's bytes. */
  sha256: string
  notices: RegistryNotice[]
  warnings: string[]
  events: TransferEvent[]
}

/** Resolves and packs, with next to no pause between attempts. */
async function pack(
  names: string[],
  { resolveFrom, client: more, ...options }: RunOptions,
): Promise<Outcome> {
  const events: TransferEvent[] = []
  const { signal } = new AbortController()
  const references = names.map((name) => parseReference(name))
  const { mirrors, access } = await knownMirrors(options, references, {
    signal,
    onEvent: (event) => events.push(event),
  })
  const client = makeClient({ ...access, ...more })
  const common = { client, mirrors }
  const { lock } = await resolveImages({
    ...common,
    images: references.map((reference) => ({ reference, from: 'argument' })),
    platforms: 'all',
    ...(resolveFrom === undefined ? {} : { resolveFrom }),
  })
  const description = {
    type: BUNDLE_TYPE as typeof BUNDLE_TYPE,
    formatVersion: '1.0',
    requires: [] as string[],
    name: 'test.tar',
    sequence: 7,
    created: '2026-01-01T00:00:00Z',
    tool: { name: 'airgap', version: '0.1.0' },
  }
  const hash = createHash('sha256')
  const sink = new Writable({
    write: (chunk: Buffer, _, done) => {
      hash.update(chunk)
      done()
    },
  })
  await packToStream(await planPack({ ...common, lock, description }), sink, { client })
  const told = events.flatMap((event) => (event.type === 'warning' ? [event.message] : []))
  return {
    lock,
    sha256: hash.digest('hex'),
    notices: client.notices,
    warnings: [
      ...told,
      ...client.notices.flatMap((notice) => (notice.type === 'warning' ? [notice.message] : [])),
    ],
    events,
  }
}

async function files(content: Record<string, string>): Promise<string> {
  const folder = scratch()
  for (const [name, text] of Object.entries(content)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  return folder
}

/** containerd's folder for a registry on this machine. */
const hostFolder = (host: string): string => host.replace(/:(\d+)$/, '_$1_')

const blobsAsked = ({ requests }: EmbeddedRegistry): string[] =>
  requests.filter(({ path }) => path.includes('/blobs/')).map(({ path }) => path)

/** A mirror that has an image, and answers requests for its first layer as `answer` does. */
function mirrorOf(image: BuiltImage, answer: (response: ServerResponse) => void): Promise<TestServer> {
  const memory = memoryRegistry()
  memory.manifests.set(image.descriptor.digest, {
    bytes: image.bytes as Buffer,
    digest: image.descriptor.digest,
    mediaType: image.descriptor.mediaType,
  })
  memory.blobs.set(image.config.descriptor.digest, image.config.bytes as Buffer)
  const layer = image.layers[0]?.descriptor.digest ?? ''
  return serve((seen, response, request) =>
    seen.path.endsWith(layer) ? answer(response) : memory.handle(seen, response, request),
  )
}

describe('a mirror that', () => {
  test('lacks one blob is quietly helped out by the source', async () => {
    const source = await registryWith({ 'app:1': app })
    const mirror = await registryWith({ 'app:1': app })
    const missing = app.layers[1]!.descriptor.digest
    mirror.store.deleteBlob('app', missing)
    const { notices } = await pack([`${source.host}/app:1`], { mirrors: [`${source.host}=${mirror.host}`] })
    expect(notices).toEqual([])
    expect(blobsAsked(source)).toEqual([`/v2/app/blobs/${missing}`])
  })

  test('has nothing at all is passed over quietly', async () => {
    const source = await registryWith({ 'app:1': app })
    const mirror = await registryWith({})
    const { notices } = await pack([`${source.host}/app:1`], {
      mirrors: [`${source.host}=${mirror.host}`],
      resolveFrom: 'mirror',
    })
    expect(notices).toEqual([])
    expect(mirror.requests.length).toBeGreaterThan(0)
  })

  test('delivers wrong bytes is not believed, and told of once', async () => {
    const source = await registryWith({ 'app:1': app })
    const mirror = await registryWith({ 'app:1': app }, { quirks: ['corrupt-blob'] })
    const good = await pack([`${source.host}/app:1`], {})
    // A stream cannot be taken back, so what is wrong there must not have been written.
    const found = await pack([`${source.host}/app:1`], { mirrors: [`${source.host}=${mirror.host}`] })
    expect(found.sha256).toBe(good.sha256)
    expect(found.warnings).toEqual([
      expect.stringContaining(`the mirror ${mirror.host} is skipped: cannot fetch the blob`),
    ])
  })

  test('breaks in the middle is followed by the source from the byte reached', async () => {
    const source = await registryWith({ 'app:1': large })
    const { bytes, descriptor } = large.layers[0]!
    const mirror = await mirrorOf(large, (response) => {
      response.writeHead(200, { 'content-length': bytes.length })
      response.write(bytes.subarray(0, 1_000_000), () => response.destroy())
    })
    const good = await pack([`${source.host}/app:1`], {})
    source.requests.length = 0
    const found = await pack([`${source.host}/app:1`], {
      mirrors: [`${source.host}=${mirror.host}`],
      client: { retry: { attempts: 1 } },
    })
    expect(found.sha256).toBe(good.sha256)
    const ranges = source.requests
      .filter(({ path }) => path.endsWith(descriptor.digest))
      .map(({ range }) => range)
    expect(ranges).toEqual([expect.stringMatching(/^bytes=[1-9]\d*-$/)])
    expect(found.warnings).toHaveLength(1)
  })

  test('stalls is given up, and followed from the byte reached', async () => {
    const source = await registryWith({ 'app:1': large })
    const { bytes, descriptor } = large.layers[0]!
    const mirror = await mirrorOf(large, (response) => {
      response.writeHead(200, { 'content-length': bytes.length })
      response.write(bytes.subarray(0, 1_000_000))
    })
    const found = await pack([`${source.host}/app:1`], {
      mirrors: [`${source.host}=${mirror.host}`],
      client: { retry: { attempts: 1 }, timeoutMs: 1000 },
    })
    const ranges = source.requests
      .filter(({ path }) => path.endsWith(descriptor.digest))
      .map(({ range }) => range)
    expect(ranges).toEqual(['bytes=1000000-'])
    expect(found.warnings).toEqual([expect.stringContaining('it stopped sending')])
  })

  test.each([
    [401, 'credentials are needed'],
    [403, 'permission denied'],
  ])('refuses with %i is told of once for all images and blobs', async (status, words) => {
    const source = await registryWith({ 'app:1': app, 'large:1': large })
    const mirror = await serve((_, response) => registryError(response, status, 'DENIED'))
    const { warnings } = await pack([`${source.host}/app:1`, `${source.host}/large:1`], {
      mirrors: [`${source.host}=${mirror.host}`],
    })
    expect(mirror.seen.length).toBeGreaterThan(4)
    expect(warnings).toEqual([expect.stringContaining(words)])
    expect(warnings[0]).toContain(`the mirror ${mirror.host} is skipped`)
  })

  test('has a certificate that nobody knows is told of once, with the way out', async () => {
    const source = await registryWith({ 'app:1': app })
    const mirror = await registryWith({ 'app:1': app }, { tls: selfSigned() })
    const { warnings } = await pack([`${source.host}/app:1`], {
      mirrors: [`${source.host}=${mirror.host}`],
      client: { plainHttp: [source.host] },
    })
    expect(warnings).toEqual([expect.stringContaining('an authority that is not trusted here')])
  })

  test('refuses, when nobody has it: the error says it, and no more', async () => {
    const source = await registryWith({})
    const mirror = await serve((_, response) => registryError(response, 403, 'DENIED'))
    const digest = `sha256:${'a'.repeat(64)}`
    const error = await failureOf(
      pack([`${source.host}/app@${digest}`], { mirrors: [`${source.host}=${mirror.host}`] }),
      'NOT_FOUND',
    )
    expect(hintOf(error)).toContain(`${mirror.host}/app`)
  })
})

test('each host is given its own credentials, and never those of another', async () => {
  const memory = memoryRegistry()
  const layer = Buffer.from('a layer')
  const config = Buffer.from('{"os":"linux","architecture":"amd64"}')
  const manifest = sampleManifest({
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOf(config),
      size: config.length,
    },
    layers: [
      { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(layer), size: layer.length },
    ],
  })
  memory.manifests.set('1', manifest).set(manifest.digest, manifest)
  memory.blobs.set(digestOf(config), config)
  const basic: Handler = (seen, response, request) => {
    if (seen.headers.authorization !== undefined) return memory.handle(seen, response, request)
    response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
  }
  // The mirror lacks the layer, and sends us to the source for it: what it is given must not go along.
  const mirror = await serve((seen, response, request) => {
    if (!seen.path.endsWith(digestOf(layer))) return basic(seen, response, request)
    response.writeHead(307, { location: `${source.origin}${seen.path}` }).end()
  })
  const source = await serve((seen, response, request) => {
    memory.blobs.set(digestOf(layer), layer)
    return basic(seen, response, request)
  })
  const authFile = authFileWith({
    auths: {
      [source.host]: basicEntry('s', 'source-secret'),
      [mirror.host]: basicEntry('m', 'mirror-secret'),
    },
  })
  await pack([`${source.host}/app:1`], {
    mirrors: [`${source.host}=${mirror.host}`],
    client: { authFile },
  })
  const given = (server: typeof source): Set<string | undefined> =>
    new Set(
      server.seen.map(({ headers: { authorization } }) =>
        authorization === undefined
          ? undefined
          : Buffer.from(authorization.slice('Basic '.length), 'base64').toString(),
      ),
    )
  expect(given(source)).toEqual(new Set([undefined, 's:source-secret']))
  expect(given(mirror)).toEqual(new Set([undefined, 'm:mirror-secret']))
})

describe('the name stays the source', () => {
  /** A configuration of each kind by which the source's images are read from the mirror. */
  const KINDS: Record<string, (source: string, mirror: string) => Promise<MirrorOptions> | MirrorOptions> = {
    '--mirror': (source, mirror) => ({ mirrors: [`${source}=${mirror}/sub`] }),
    'hosts.toml': async (source, mirror) => ({
      mirrorsFrom: [
        join(
          await files({
            [`${hostFolder(source)}/hosts.toml`]: `[host."http://${mirror}/v2/sub"]\noverride_path = true`,
          }),
          hostFolder(source),
          'hosts.toml',
        ),
      ],
    }),
    'a folder of hosts.toml': async (_, mirror) => ({
      mirrorsFrom: [
        await files({ '_default/hosts.toml': `[host."http://${mirror}/v2/sub"]\noverride_path = true` }),
      ],
    }),
    'registries.conf': async (source, mirror) => ({
      mirrorsFrom: [
        await files({
          'registries.conf': `[[registry]]\nlocation = "${source}"\n[[registry.mirror]]\nlocation = "${mirror}/sub"\ninsecure = true`,
        }),
      ],
    }),
    'registries.conf, location': async (source, mirror) => ({
      mirrorsFrom: [
        await files({
          'x.conf': `[[registry]]\nprefix = "${source}"\nlocation = "${mirror}/sub"\ninsecure = true`,
        }),
      ],
    }),
  }

  test.each(Object.keys(KINDS))('with %s, and who named the digest is recorded', async (kind) => {
    const source = await registryWith({ 'app:1': app })
    const mirror = await registryWith({ 'sub/app:1': large })
    const options = await KINDS[kind]!(source.host, mirror.host)
    const { lock, events } = await pack([`${source.host}/app:1`], { ...options, resolveFrom: 'mirror' })
    expect(lock.images).toMatchObject([
      {
        source: `${source.host}/app:1`,
        resolvedFrom: `${mirror.host}/sub/app`,
        digest: large.descriptor.digest,
      },
    ])
    expect(source.requests).toEqual([])
    const [told] = events.flatMap((event) => (event.type === 'mirrors' ? [event.inUse] : []))
    expect(told).toMatchObject([
      { prefix: source.host, registryItself: kind !== 'registries.conf, location' },
    ])
    expect(told?.[0]?.places[0]?.origin).toMatch(/^the mirror$|hosts\.toml$|\.conf$/)
  })

  test.each(Object.keys(KINDS).slice(0, 4))('with %s, and the source names the digest', async (kind) => {
    const source = await registryWith({ 'app:1': app })
    const mirror = await registryWith({ 'sub/app:1': app })
    const options = await KINDS[kind]!(source.host, mirror.host)
    const { lock } = await pack([`${source.host}/app:1`], options)
    expect(lock.images).toMatchObject([{ source: `${source.host}/app:1`, resolvedFrom: 'source' }])
    // The tag's digest, and what refers to it.
    const [named, ...others] = source.requests
    expect(named).toMatchObject({ method: 'HEAD', path: '/v2/app/manifests/1' })
    expect(others.every(({ path }) => /\/referrers\/|\/tags\/list$/.test(path))).toBe(true)
    expect(blobsAsked(mirror).every((path) => path.startsWith('/v2/sub/app/'))).toBe(true)
  })

  test('a registry that is read elsewhere names no digest by itself', async () => {
    const source = await registryWith({ 'app:1': app })
    const mirror = await registryWith({ 'sub/app:1': app })
    const options = await KINDS['registries.conf, location']!(source.host, mirror.host)
    const error = await failureOf(pack([`${source.host}/app:1`], options), 'USAGE')
    expect(error.message).toContain('x.conf')
    expect(hintOf(error)).toContain('--resolve-from mirror')
    expect([...source.requests, ...mirror.requests]).toEqual([])
    // With a digest nobody has to be trusted.
    const { lock } = await pack([`${source.host}/app@${app.descriptor.digest}`], options)
    expect(lock.images).toMatchObject([{ resolvedFrom: 'source', digest: app.descriptor.digest }])
    expect(source.requests).toEqual([])
  })
})

describe('who may not name a digest does not, whoever may', () => {
  const CASES: Record<string, (source: string, mirror: string) => Record<string, string>> = {
    'mirror-by-digest-only': (source, mirror) => ({
      'r.conf': `[[registry]]\nlocation = "${source}"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "${mirror}"`,
    }),
    'pull-from-mirror = "digest-only"': (source, mirror) => ({
      'r.conf': `[[registry]]\nlocation = "${source}"\n[[registry.mirror]]\nlocation = "${mirror}"\npull-from-mirror = "digest-only"`,
    }),
    'no capability "resolve"': (source, mirror) => ({
      [`${hostFolder(source)}/hosts.toml`]: `[host."http://${mirror}"]\ncapabilities = ["pull"]`,
    }),
  }
  test.each(Object.keys(CASES))('%s', async (name) => {
    const source = await registryWith({ 'app:1': app })
    const mirror = await registryWith({ 'app:1': app })
    seedRegistry(mirror.store, 'app:1', await dockerList('another'))
    const mirrorsFrom = [await files(CASES[name]!(source.host, mirror.host))]
    const { lock } = await pack([`${source.host}/app:1`], { mirrorsFrom, resolveFrom: 'mirror' })
    expect(lock.images).toMatchObject([{ resolvedFrom: 'source', digest: app.descriptor.digest }])
    expect(mirror.requests.filter(({ path }) => path.endsWith('/manifests/1'))).toEqual([])
    // What has a digest is read there all the same.
    expect(blobsAsked(mirror).length).toBeGreaterThan(0)
    expect(blobsAsked(source)).toEqual([])
  })

  test('where nobody may, that is said', async () => {
    const source = await registryWith({ 'app:1': app })
    const folder = await files({
      [`${hostFolder(source.host)}/hosts.toml`]: `server = "http://m.example"\ncapabilities = ["pull"]`,
    })
    const names = [`${source.host}/app:1`]
    const error = await failureOf(pack(names, { mirrorsFrom: [folder], resolveFrom: 'mirror' }), 'USAGE')
    expect(error.message).toContain('hosts.toml names no registry that may turn its tag into a digest')
    expect(source.requests).toEqual([])
  })

  test('one that only resolves is asked for nothing else', async () => {
    const source = await registryWith({ 'app:1': large })
    const names = await registryWith({ 'app:1': app })
    const holds = await registryWith({ 'app:1': app })
    const mirrorsFrom = [
      await files({
        [`${hostFolder(source.host)}/hosts.toml`]: `[host."http://${names.host}"]\ncapabilities = ["resolve"]\n[host."http://${holds.host}"]\ncapabilities = ["pull"]`,
      }),
    ]
    const { lock } = await pack([`${source.host}/app:1`], { mirrorsFrom, resolveFrom: 'mirror' })
    expect(lock.images).toMatchObject([{ resolvedFrom: `${names.host}/app`, digest: app.descriptor.digest }])
    expect(names.requests.map(({ method }) => method)).toEqual(['HEAD'])
  })
})

test('containerd is imitated: the registry is told by ?ns=, and a path may stand before /v2', async () => {
  const source = await registryWith({ 'app:1': app })
  const mirror = await registryWith({ 'app:1': app })
  const front = await serve(async (seen, response) => {
    const answer = await fetch(`http://${mirror.host}${seen.url.replace('/api/hub', '')}`, {
      method: seen.method,
      headers: { accept: seen.headers.accept ?? '*/*' },
    })
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
    response.end(Buffer.from(await answer.arrayBuffer()))
  })
  const mirrorsFrom = [
    await files({ [`${hostFolder(source.host)}/hosts.toml`]: `[host."http://${front.host}/api/hub"]` }),
  ]
  const { lock } = await pack([`${source.host}/app:1`], { mirrorsFrom, resolveFrom: 'mirror' })
  expect(lock.images[0]?.resolvedFrom).toBe(`${front.host}/app`)
  const namespace = `?ns=${encodeURIComponent(source.host)}`
  expect(new Set(front.seen.map(({ url }) => url))).toEqual(
    new Set([
      `/api/hub/v2/app/manifests/1${namespace}`,
      // The packing has not been given what the resolving has read.
      `/api/hub/v2/app/manifests/${app.descriptor.digest}${namespace}`,
      ...app.layers.map(({ descriptor }) => `/api/hub/v2/app/blobs/${descriptor.digest}${namespace}`),
      `/api/hub/v2/app/blobs/${app.config.descriptor.digest}${namespace}`,
      `/api/hub/v2/app/referrers/${app.descriptor.digest}${namespace}`,
      `/api/hub/v2/app/tags/list${namespace}&n=1000`,
    ]),
  )
})

describe('how a host is spoken to', () => {
  const authority = makeCertificate({ name: 'authority' })
  const own = makeCertificate({ name: 'mirror', names: ['127.0.0.1'], issuer: authority })
  const user = makeCertificate({ name: 'user', names: ['user'], issuer: authority })

  test('by the ca of its entry alone, which is no trust in others', async () => {
    const source = await registryWith({ 'app:1': app })
    const mirror = await registryWith({ 'app:1': app }, { tls: own })
    const stranger = await registryWith({ 'app:1': app }, { tls: own })
    const folder = await files({
      'source.example/ca.crt': authority.cert,
      'source.example/hosts.toml': `[host."https://${stranger.host}"]\n[host."https://${mirror.host}"]\n  ca = "ca.crt"\n[host."http://${source.host}"]`,
    })
    const { warnings } = await pack([`source.example/app@${app.descriptor.digest}`], {
      mirrorsFrom: [folder],
      client: { plainHttp: [source.host] },
    })
    expect(blobsAsked(mirror).length).toBeGreaterThan(0)
    expect(stranger.requests).toEqual([])
    expect(warnings).toEqual([expect.stringContaining(`the mirror ${stranger.host} is skipped`)])
  })

  test('with its client certificate', async () => {
    const mirror = createServer({ ...own, ca: authority.cert, requestCert: true }, (_, response) => {
      response.writeHead(200, { 'content-type': app.descriptor.mediaType }).end(app.bytes)
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void mirror.close())
    await once(mirror, 'listening')
    const host = `127.0.0.1:${(mirror.address() as AddressInfo).port}`
    const folder = await files({
      'source.example/ca.crt': authority.cert,
      'source.example/user.pem': `${user.cert}${user.key}`,
      'source.example/hosts.toml': `[host."https://${host}"]\n  ca = "ca.crt"\n  client = "user.pem"`,
    })
    const reference = parseReference(`source.example/app@${app.descriptor.digest}`)
    const { access } = await knownMirrors({ mirrorsFrom: [folder] }, [reference], {
      signal: new AbortController().signal,
      onEvent: () => {},
    })
    const client = makeClient({ ...access })
    const document = await client.repository(host, 'app').fetchManifest(app.descriptor.digest)
    expect(document.digest).toBe(app.descriptor.digest)
    const stranger = makeClient({ ...access, hostTls: { [host]: { ca: [authority.cert] } } })
    const refused = stranger.repository(host, 'app').fetchManifest(app.descriptor.digest)
    await expect(refused).rejects.toBeInstanceOf(AirgapError)
  })

  test.each([
    ['skip_verify', (host: string) => `[host."https://${host}"]\nskip_verify = true`, 'hosts.toml'],
    [
      'insecure',
      (host: string) =>
        `[[registry]]\nlocation = "source.example"\n[[registry.mirror]]\nlocation = "${host}"\ninsecure = true`,
      'r.conf',
    ],
  ])('without checking who it is, where %s says so, and that is announced', async (_, content, name) => {
    const mirror = await registryWith({ 'app:1': app }, { tls: selfSigned() })
    const path = name === 'r.conf' ? name : `source.example/${name}`
    const folder = await files({ [path]: content(mirror.host) })
    const { notices } = await pack([`source.example/app@${app.descriptor.digest}`], {
      mirrorsFrom: [folder],
      client: { plainHttp: [] },
    })
    const announced = notices.filter(({ type }) => type === 'insecure')
    expect(announced).toEqual([{ type: 'insecure', registry: mirror.host, how: 'unverified' }])
  })

  test('a file that is not there, or holds something else, is named', async () => {
    const folder = await files({
      'source.example/hosts.toml': '[host."https://m.example"]\nca = "none.crt"',
    })
    const error = await failureOf(pack(['source.example/app'], { mirrorsFrom: [folder] }), 'FILE')
    expect(error.message).toContain(join(folder, 'source.example', 'none.crt'))
    const wrong = await files({
      'source.example/hosts.toml': '[host."https://m.example"]\nclient = ["a.pem"]',
      'source.example/a.pem': 'no key',
    })
    const second = await failureOf(pack(['source.example/app'], { mirrorsFrom: [wrong] }), 'FILE')
    expect(second.message).toContain(join(wrong, 'source.example', 'a.pem'))
  })

  test('http:// and https:// for one port are an error that names both files', async () => {
    const one = await files({ 'source.example/hosts.toml': '[host."http://m.example:5000"]' })
    const two = await files({ 'source.example/hosts.toml': '[host."https://m.example:5000"]' })
    const error = await failureOf(pack(['source.example/app'], { mirrorsFrom: [one, two] }), 'INVALID_CONFIG')
    expect(error.message).toContain(one)
    expect(error.message).toContain(two)
  })
})

test('what a file blocks is said for all images before anything is asked', async () => {
  const source = await registryWith({ 'app:1': app, 'b:1': app })
  const folder = await files({
    'r.conf': `[[registry]]\nlocation = "${source.host}"\nblocked = true\n`,
  })
  const names = [`${source.host}/app:1`, `${source.host}/b:1`]
  const error = await failureOf(pack(names, { mirrorsFrom: [folder] }), 'DENIED')
  expect(error).toBeInstanceOf(AirgapError)
  expect(error.problems.map(({ entry }) => entry)).toEqual(
    names.map((name) => formatReference(parseReference(name))),
  )
  expect(error.problems[0]?.message).toContain('r.conf')
  expect(source.requests).toEqual([])
})
