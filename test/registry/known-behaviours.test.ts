/**
 * What registries are known to do, and what airgap does then: one row for each. Rows with quirks run against the
 * embedded registry, which shows them by name (test/support/registry/quirks.ts); `PROVEN` names the tests, on real servers where
 * one does it, for all the others.
 */
import { describe, expect, test } from 'vitest'
import {
  dockerList,
  foreignLayerImage,
  helmChart,
  nestedIndex,
  seedRegistry,
  singleManifest,
  umociIndex,
  type BuiltIndex,
} from '../../fixtures/images/index.ts'
import { parseManifest } from '../../src/oci/manifest.ts'
import { QUIRKS, UPLOAD_QUIRKS } from '../support/registry/quirks.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { authFileWith, basicEntry, makeClient } from '../support/client.ts'
import {
  chartWithLongName,
  expectProven,
  show,
  withReferrer,
  type Behaviour,
  type Place,
} from './known-behaviours.ts'

/** Another origin than the registry's. */
let webStatus = 200
const web = await startRegistry({
  front: async ({ path }) =>
    path === '/-/referrers'
      ? { status: webStatus, headers: { 'Content-Type': 'text/html' }, body: Buffer.from('<html>') }
      : undefined,
})

const MANIFESTS = /\/manifests\//
const BLOBS = /\/blobs\//
const TOKEN = /^\/token$/

const users = { packer: 'secret' }
const bearer = { auth: { bearer: { users } } }
const asPacker: Behaviour['request'] = () => ({
  registries: { credentials: async () => ({ username: 'packer', password: 'secret' }) },
})
const NAMES: Behaviour[] = ['nginx', 'docker.io/nginx', 'index.docker.io/library/nginx:latest'].map(
  (text) => ({
    name: `${text} is docker.io/library/nginx:latest`,
    side: 'pack',
    ends: 'works',
    prepare: ({ registry, built }) => seedRegistry(registry.store, 'library/nginx:latest', built),
    request: ({ registry }) => ({
      images: [text],
      mirrors: [`docker.io=${registry.host}`],
      resolveFrom: 'mirror',
    }),
    after: ({ registry }) => expect(registry.requests[0]?.path).toBe('/v2/library/nginx/manifests/latest'),
  }),
)

/** Asks with an identity token, which the registry has given out itself. */
async function withIdentityToken({ registry }: Place): Promise<ReturnType<typeof identity>> {
  const headers = { authorization: `Basic ${Buffer.from('packer:secret').toString('base64')}` }
  const answer = await fetch(`${registry.url}/token?offline_token=true`, { headers })
  registry.requests.length = 0
  return identity(registry.host, ((await answer.json()) as { refresh_token: string }).refresh_token)
}

function identity(host: string, identitytoken: string) {
  const entry = { ...basicEntry('<token>', ''), identitytoken }
  return { registries: { authFile: authFileWith({ auths: { [host]: entry } }) } }
}

const ACCESS: Behaviour[] = [
  {
    name: 'several ways in are offered in one header: the token is taken, not the password',
    quirks: ['basic-and-bearer'],
    side: 'pack',
    ends: 'works',
    options: bearer,
    request: asPacker,
    after: ({ registry, seen }) => {
      expect(seen(TOKEN)).toEqual(['GET 200'])
      expect(
        registry.requests.some(({ path, authorization }) => path !== '/token' && authorization === 'basic'),
      ).toBe(false)
    },
  },
  {
    name: 'the token realm is relative and has a query of its own: it is kept',
    quirks: ['realm-relative'],
    side: 'pack',
    ends: 'works',
    options: bearer,
    request: asPacker,
  },
  {
    name: 'the token realm names the service already: it is not added again',
    quirks: ['realm-with-service'],
    side: 'pack',
    ends: 'works',
    options: bearer,
    request: asPacker,
  },
  ...(['token-only', 'access-token-only', 'no-expires-in'] as const).map((quirk): Behaviour => ({
    name: `${QUIRKS[quirk]} One token serves all requests`,
    quirks: [quirk],
    side: 'pack',
    ends: 'works',
    options: bearer,
    request: asPacker,
    after: ({ seen }) => expect(seen(TOKEN)).toEqual(['GET 200']),
  })),
  {
    name: 'an identity token is exchanged by POST',
    side: 'pack',
    ends: 'works',
    options: bearer,
    request: withIdentityToken,
    after: ({ seen }) => expect(seen(TOKEN)).toEqual(['POST 200']),
  },
  ...([404, 405] as const).map((status): Behaviour => ({
    name: `the token service has no POST (${status}): GET with the identity token`,
    quirks: [`token-post-${status}`],
    side: 'pack',
    ends: 'works',
    options: { auth: { bearer: {} } },
    request: ({ registry }) => identity(registry.host, 'any'),
    after: ({ seen }) => expect(seen(TOKEN)).toEqual([`POST ${status}`, 'GET 200']),
  })),
  {
    name: 'a token is refused though it is fresh: that is a denial, not a loop',
    quirks: ['fresh-token-refused'],
    side: 'pack',
    ends: [
      'DENIED',
      /permission denied to the account[^]*some registries answer like this for what does not exist/,
    ],
    options: bearer,
    request: asPacker,
    after: ({ registry }) => expect(registry.requests.length).toBeLessThanOrEqual(4),
  },
  {
    name: 'what is not there is answered 403, by Artifactory and others: the message says that it may be so',
    quirks: ['missing-403'],
    side: 'pack',
    ends: [
      'DENIED',
      /403[^]*that the name is right: some registries answer like this for what does not exist/,
    ],
    request: ({ registry }) => ({ images: [`${registry.host}/team/app:2`] }),
  },
  {
    name: 'the user is a Harbor robot, whose name holds a $',
    side: 'pack',
    ends: 'works',
    options: { auth: { basic: { 'robot$packer+team': 'secret' } } },
    request: () => ({
      registries: { credentials: async () => ({ username: 'robot$packer+team', password: 'secret' }) },
    }),
  },
  ...(['mount-401', 'mount-202'] as const).map((quirk): Behaviour => ({
    name: `${QUIRKS[quirk]} The blob is uploaded`,
    quirks: [quirk],
    side: 'push',
    ends: 'works',
  })),
]

const ANY: Behaviour[] = (
  ['busy-once', 'busy-date-once', 'rate-limit-once', 'timeout-408-once', 'too-early-425-once'] as const
).flatMap((quirk) =>
  (['pack', 'push'] as const).map((side): Behaviour => ({
    name: `${QUIRKS[quirk]} It is asked again`,
    quirks: [quirk],
    side,
    ends: 'works',
    after: ({ registry }) => expect(registry.requests[0]?.status).toBeGreaterThan(400),
  })),
)

const READ_MANIFESTS: Behaviour[] = [
  {
    name: 'who does not accept the type gets 404: all four are accepted',
    side: 'pack',
    ends: 'works',
    built: dockerList,
  },
  {
    name: 'every GET of a manifest counts at Docker Hub: each is read once',
    side: 'pack',
    ends: 'works',
    after: ({ seen }) => expect(seen(MANIFESTS).filter((line) => line.startsWith('GET'))).toHaveLength(3),
  },
  {
    name: 'no Docker-Content-Digest: the body is hashed',
    quirks: ['no-digest-header'],
    side: 'pack',
    ends: 'works',
  },
  {
    name: 'Docker-Content-Digest names something else: the body is hashed all the same',
    quirks: ['wrong-digest-header'],
    side: 'pack',
    ends: 'works',
  },
  { name: 'HEAD is refused: GET', quirks: ['head-405'], side: 'pack', ends: 'works' },
  { name: 'HEAD gives no length: GET', quirks: ['head-no-length'], side: 'pack', ends: 'works' },
  {
    name: 'with a tag and a digest, the digest decides, wherever the tag points',
    side: 'pack',
    ends: 'works',
    prepare: async ({ registry }) => seedRegistry(registry.store, 'team/app:1', await singleManifest()),
    request: ({ registry, built }) => ({
      images: [`${registry.host}/team/app:1@${built.descriptor.digest}`],
    }),
  },
  {
    name: 'a body states no mediaType, as umoci writes it: it stays so, byte for byte',
    side: 'pack',
    ends: 'works',
    built: umociIndex,
  },
  { name: 'an artifact: a Helm chart', side: 'pack', ends: 'works', built: helmChart },
  {
    name: 'no Content-Type: the body says what it is',
    quirks: ['no-content-type'],
    side: 'pack',
    ends: 'works',
  },
  {
    name: 'Content-Type and body disagree: refused',
    quirks: ['wrong-content-type'],
    side: 'pack',
    ends: ['UNSUPPORTED_CONTENT', /its media type is \S+index\S+, but it was announced as/],
  },
  {
    name: 'Docker schema 1: refused',
    quirks: ['schema-1'],
    side: 'pack',
    ends: ['UNSUPPORTED_CONTENT', /schema 1 manifest[^]*rebuilt or pushed again/],
  },
  {
    name: 'a document that could be read as two kinds: refused',
    quirks: ['ambiguous-manifest'],
    side: 'pack',
    ends: ['UNSUPPORTED_CONTENT', /both as an index and as a manifest/],
  },
  {
    name: 'other content than the digest says: refused',
    quirks: ['corrupt-manifest'],
    side: 'pack',
    ends: ['CONTENT_MISMATCH', /other content/],
    request: ({ registry, built }) => ({ images: [`${registry.host}/team/app@${built.descriptor.digest}`] }),
  },
  {
    name: 'a manifest without end: refused at 8 MiB',
    quirks: ['endless-body'],
    side: 'pack',
    ends: ['UNSUPPORTED_CONTENT', /larger than 8388608 bytes/],
  },
  {
    name: 'a login page in the place of a registry: said so',
    quirks: ['html-200'],
    side: 'pack',
    ends: ['REGISTRY', /HTML page/],
  },
  {
    name: 'a proxy compresses manifests: said so',
    quirks: ['gzip-manifests'],
    side: 'pack',
    ends: ['CONTENT_MISMATCH', /Content-Encoding: gzip, although no encoding was requested[^]*gzip off/],
  },
]

const READ_BLOBS: Behaviour[] = [
  ...(['redirect-blobs', 'redirect-302', 'redirect-303', 'redirect-308'] as const).map(
    (quirk): Behaviour => ({
      name: `${QUIRKS[quirk]} It is followed, without the token`,
      quirks: [quirk],
      side: 'pack',
      ends: 'works',
      options: { ...bearer, redirectTo: web.url },
      request: asPacker,
      prepare: ({ built }) => {
        web.requests.length = 0
        seedRegistry(web.store, 'team/app:1', built)
      },
      after: () => {
        expect(web.requests.length).toBeGreaterThan(0)
        expect(web.requests.filter(({ authorization }) => authorization)).toEqual([])
      },
    }),
  ),
  { name: 'a relative redirect is followed', quirks: ['redirect-relative'], side: 'pack', ends: 'works' },
  ...(['truncate-once', 'reset-once'] as const).flatMap((broken) =>
    ([undefined, 'ignore-range', 'range-416', 'range-wrong-start', 'range-wrong-bytes'] as const).map(
      (range): Behaviour => ({
        name: `${QUIRKS[broken]} ${range ? QUIRKS[range] : 'Ranges are done.'} What is missing is fetched`,
        quirks: range ? [broken, range] : [broken],
        side: 'pack',
        ends: 'works',
        after: ({ registry }) => expect(registry.requests.some(({ range: asked }) => asked)).toBe(true),
      }),
    ),
  ),
  {
    name: 'no Content-Length: the size is known from the manifest',
    quirks: ['no-content-length'],
    side: 'pack',
    ends: 'works',
  },
  {
    name: 'fewer bytes than announced, again and again: an error after a few attempts',
    quirks: ['wrong-content-length'],
    side: 'pack',
    ends: ['NETWORK', /announced|ended after/],
    after: ({ seen }) => expect(seen(BLOBS).length).toBeLessThan(30),
  },
  {
    name: 'another length than the manifest states: refused',
    quirks: ['stored-blob-empty'],
    side: 'pack',
    ends: ['CONTENT_MISMATCH', /it has 0 bytes there instead of \d+/],
  },
  {
    name: 'other bytes than the digest says: refused, after a second look',
    quirks: ['corrupt-blob'],
    side: 'pack',
    ends: ['CONTENT_MISMATCH', /its bytes have the digest/],
  },
  {
    name: 'a proxy compresses blobs: said so',
    quirks: ['gzip-blobs'],
    side: 'pack',
    ends: ['CONTENT_MISMATCH', /Content-Encoding: gzip, although no encoding was requested[^]*gzip off/],
  },
  {
    name: 'a web server labels layers as Content-Encoding: gzip, and changes nothing: taken as they come',
    quirks: ['gzip-label'],
    side: 'pack',
    ends: 'works',
  },
]

const foreign = await foreignLayerImage([`${web.url}/v2/web/blobs/LAYER`])
const layer = foreign.layers[0]
web.store.putBlob('web', layer?.bytes ?? new Uint8Array())
const foreignImage = () => foreignLayerImage([`${web.url}/v2/web/blobs/${layer?.descriptor.digest}`])

const FOREIGN: Behaviour[] = [
  {
    name: 'a foreign layer is not in the registry: fetched from its URL, without credentials',
    side: 'pack',
    ends: 'works',
    options: bearer,
    request: asPacker,
    built: foreignImage,
    prepare: () => void (web.requests.length = 0),
    after: ({ registry }) => {
      const path = `/v2/team/app/blobs/${layer?.descriptor.digest}`
      expect(registry.requests.filter((entry) => entry.path === path).map(({ status }) => status)).toEqual([
        404,
      ])
      expect(web.requests.map(({ status, authorization }) => [status, authorization])).toEqual([
        [200, undefined],
      ])
    },
  },
  {
    name: 'a foreign layer is in the registry: its URL is not asked',
    side: 'pack',
    ends: 'works',
    built: foreignImage,
    prepare: ({ registry, built }) => {
      web.requests.length = 0
      seedRegistry(registry.store, 'team/app:1', built, { withForeignLayers: true })
    },
    after: () => expect(web.requests).toEqual([]),
  },
  { name: 'a foreign layer is pushed like any other', side: 'push', ends: 'works', built: foreignImage },
]

const WRITE: Behaviour[] = [
  { name: 'HEAD is refused: everything is sent', quirks: ['head-405'], side: 'push', ends: 'works' },
  { name: 'no answer carries a digest', quirks: ['no-digest-header'], side: 'push', ends: 'works' },
  {
    name: 'an answer carries the digest of something else: refused',
    quirks: ['wrong-digest-header'],
    side: 'push',
    ends: ['CONTENT_MISMATCH', /another digest|other content|sha256:/],
  },
  { name: 'Locations are relative', quirks: ['relative-location'], side: 'push', ends: 'works' },
  {
    name: 'Locations carry a query, which is kept',
    quirks: ['location-with-query'],
    side: 'push',
    ends: 'works',
  },
  {
    name: 'manifests that state no mediaType are refused (ECR): the message says why they are not changed',
    quirks: ['media-type-required'],
    side: 'push',
    built: umociIndex,
    ends: ['REGISTRY', /does not state its own mediaType[^]*other bytes[^]*another digest[^]*--exclude/],
  },
  {
    name: 'manifests that state it are not concerned',
    quirks: ['media-type-required'],
    side: 'push',
    ends: 'works',
  },
  {
    name: 'a manifest is too large for the registry: the message says how large it is',
    quirks: ['manifest-413'],
    side: 'push',
    built: chartWithLongName,
    ends: ['REGISTRY', /413[^]*the manifest has \d+ bytes[^]*client_max_body_size/],
  },
  {
    name: 'kinds of artifacts that the registry does not know are refused (GitLab, ECR): the message says so',
    quirks: ['artifacts-refused'],
    side: 'push',
    built: withReferrer,
    ends: [
      'REGISTRY',
      /does not accept this kind of manifest[^]*unknown media type[^]*certain kinds of artifacts/,
    ],
  },
  {
    name: "Docker's types are refused (zot): the message says which setting takes them",
    quirks: ['docker-types-refused'],
    side: 'push',
    built: dockerList,
    ends: ['REGISTRY', /does not accept this kind of manifest[^]*415[^]*"compat": \["docker2s2"\]/],
  },
  {
    name: 'an index within an index is refused (Gitea): the message says so',
    quirks: ['nested-index-refused'],
    side: 'push',
    built: nestedIndex,
    ends: ['REGISTRY', /does not accept this kind of manifest[^]*lists another index[^]*Gitea/],
  },
  { name: 'an artifact is pushed like an image', side: 'push', ends: 'works', built: helmChart },
]

const listedIn = ({ registry, built }: Place): unknown => {
  const tag = (built.kind === 'index' ? built.children[0] : built)?.descriptor.digest.replace(':', '-') ?? ''
  const list = registry.store.manifest('mirror/team/app', tag)
  if (!list) return undefined
  const { manifests } = JSON.parse(Buffer.from(list.bytes).toString()) as { manifests?: { digest: string }[] }
  return manifests?.map(({ digest }) => digest)
}

const REFERRERS: Behaviour[] = [
  {
    name: 'the registry lists what refers to an image by itself (OCI-Subject): no tag is written',
    side: 'push',
    ends: 'works',
    built: withReferrer,
    after: (place) => expect(listedIn(place)).toBeUndefined(),
  },
  ...(['no-tag-list', 'partial-tag-list'] as const).map((quirk): Behaviour => ({
    name: `${QUIRKS[quirk]} Each of cosign's tags is asked for`,
    quirks: [quirk],
    side: 'pack',
    ends: 'works',
    after: ({ registry }) => expect(registry.requests.some(({ path }) => path.endsWith('.sig'))).toBe(true),
  })),
  ...(['no-referrers', 'referrers-401'] as const).map((quirk): Behaviour => ({
    name: `${QUIRKS[quirk]} The tag that stands in for it is written`,
    quirks: [quirk],
    side: 'push',
    ends: 'works',
    built: withReferrer,
    after: (place) => {
      const { built, warnings } = place
      expect(listedIn(place)).toEqual(built.kind === 'index' && [built.children[1]?.descriptor.digest])
      expect(warnings).toEqual([])
    },
  })),
  ...[429, 200].map((status): Behaviour => ({
    name: `${QUIRKS['referrers-redirect']} It answers ${status}: the tag is written`,
    quirks: ['referrers-redirect'],
    side: 'push',
    ends: 'works',
    options: { redirectTo: web.url },
    built: withReferrer,
    prepare: () => {
      webStatus = status
    },
    // The list is asked for where a manifest was there before.
    after: async (place) => {
      const { registry, built } = place
      expect(listedIn(place)).toHaveLength(1)
      const document = parseManifest((built as BuiltIndex).children[1]!.bytes, 'it')
      const repository = makeClient().repository(registry.host, 'mirror/team/app')
      expect(await repository.ensureReferrer(document)).toBe('tagged')
      expect(await repository.referrers(document.subject!.digest)).toHaveLength(1)
    },
  })),
  {
    name: 'the tag that stands in for the list is something else: left alone, with a warning',
    quirks: ['fallback-tag-is-subject'],
    side: 'push',
    ends: 'works',
    built: withReferrer,
    after: (place) => {
      expect(listedIn(place)).toBeUndefined()
      expect(place.warnings.map((text) => /is not a list of referrers/.test(text))).toEqual([true, true])
    },
  },
]

const TABLE: [subject: string, behaviours: Behaviour[]][] = [
  ['names', NAMES],
  ['ways in', ACCESS],
  ['answers that pass', ANY],
  ['manifests that are read', READ_MANIFESTS],
  ['blobs that are read', READ_BLOBS],
  ['foreign layers', FOREIGN],
  ['what is written', WRITE],
  ['what refers to an image', REFERRERS],
]

for (const [subject, behaviours] of TABLE) {
  describe(subject, () => {
    for (const behaviour of behaviours) test(`${behaviour.side}: ${behaviour.name}`, () => show(behaviour))
  })
}

const STRANGERS = 'test/e2e/strangers.test.ts'
const AUTH = 'test/registry/auth/auth.test.ts'
const REFERRERS_TESTS = 'test/registry/referrers.test.ts'

/** Behaviours that are shown elsewhere, on real servers (test/e2e) where one of them does it. */
const PROVEN: [behaviour: string, file: string, title: string][] = [
  [
    'Docker Hub’s credentials stand under https://index.docker.io/v1/',
    'test/registry/auth/credentials.test.ts',
    'index.docker.io/v1',
  ],
  ['a token ends on the way: renewed once', AUTH, 'Bearer: a token that ends on the way is renewed once'],
  ['many requests at once: one token', AUTH, 'Bearer: many requests at once mean one token, later ones none'],
  [
    'a mount source that may not be read: asked for without it',
    AUTH,
    'Bearer: a refused mount source is left out of a second request',
  ],
  [
    'challenges in several headers',
    'test/registry/auth/challenge.test.ts',
    'several headers, and a bare value',
  ],
  ['amd64 is picked where nobody says what he accepts', STRANGERS, 'picks amd64'],
  ['an index with missing children is refused', STRANGERS, 'refuses an index whose children are missing'],
  [
    'manifests with foreign layers are answered 500',
    STRANGERS,
    'does not take foreign layers, and the error names the setting',
  ],
  [
    'a manifest of more than 4 MiB is refused with 400',
    STRANGERS,
    'does not take a manifest of more than 4 MiB',
  ],
  ['POST with ?digest= is not honoured', STRANGERS, 'takes no blob in a single POST'],
  ['conditions on a put are not honoured', STRANGERS, 'does not look at If-Match'],
  ['an open range is answered 416', STRANGERS, 'does not understand an open range'],
  ['no list of referrers', STRANGERS, 'what refers to an image is found there'],
  ['GitLab’s tag for the list is the subject', REFERRERS_TESTS, 'a tag that leads to the subject itself'],
  [
    'the list of referrers is answered 401 without a challenge',
    REFERRERS_TESTS,
    'to the list leads to the tag',
  ],
  [
    'what is there is damaged: other length',
    'test/commands/push.test.ts',
    'sends again what the registry has with another length',
  ],
  [
    'what is there is damaged: other bytes',
    'test/commands/push.test.ts',
    'reads blobs back with --verify-target',
  ],
  ['Harbor: projects, quotas, robots, proxy caches', 'test/push/harbor.test.ts', 'quota'],
]

describe('shown elsewhere', () => {
  for (const [behaviour, file, title] of PROVEN) {
    test(`${behaviour}: see ${file}`, () => expectProven(file, title))
  }
})

test('every quirk of the embedded registry is in the table', () => {
  const all = TABLE.flatMap(([, behaviours]) => behaviours)
  // Uploads have tables of their own: test/registry/blobs/upload-faults.test.ts and upload-chunks.test.ts.
  const shown = new Set<string>([...all.flatMap(({ quirks = [] }) => quirks), ...Object.keys(UPLOAD_QUIRKS)])
  expect(Object.keys(QUIRKS).filter((quirk) => !shown.has(quirk))).toEqual([])
})
