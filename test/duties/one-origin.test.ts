import { describe, expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { OCI_INDEX } from '../../src/oci/media-types.ts'
import { downloadBlob } from '../../src/registry/blobs/download.ts'
import type { Repository } from '../../src/registry/repository.ts'
import {
  authFileWith,
  basicEntry,
  json,
  makeClient,
  registryError,
  sampleBytes,
  sampleManifest,
  serve,
  type Handler,
  type TestServer,
} from '../support/client.ts'

const PASSWORD = 's3cret-word'
const TOKEN = 'a-t0ken-of-the-registry'
const bytes = sampleBytes(3000)
const blob = { digest: digestOf(bytes), size: bytes.length, mediaType: 'application/octet-stream' }

/** Whatever it is asked, it asks for a login, in every way that there is. */
function thief(): Promise<TestServer> {
  return serve((_, response) => {
    response.setHeader('www-authenticate', ['Basic realm="r"', 'Bearer realm="/token",service="s"'])
    registryError(response, 401, 'UNAUTHORIZED', 'who are you?')
  })
}

interface Attack {
  name: string
  /** Where the registry sends its client, once it has logged in. */
  answer: (thief: TestServer) => Handler
  act: (repository: Repository, thief: TestServer) => Promise<unknown>
  /** Whether the other origin is asked at all, without credentials, or not even that. */
  isAsked: boolean
}

const moved =
  (status: number, path = '/x'): Attack['answer'] =>
  ({ origin }) =>
  (_, response) =>
    void response.writeHead(status, { location: `${origin}${path}` }).end()

const upload = (repository: Repository): Promise<unknown> =>
  repository.uploadBlob(blob, async function* () {
    yield bytes
  })

const ATTACKS: Attack[] = [
  { name: 'a redirect of a blob', answer: moved(307), act: (r) => r.openBlob(blob.digest, 0), isAsked: true },
  {
    name: 'a redirect of a part of a blob',
    answer: moved(307),
    act: (r) => r.openBlob(blob.digest, 5),
    isAsked: true,
  },
  { name: 'a redirect of a manifest', answer: moved(301), act: (r) => r.fetchManifest('1'), isAsked: true },
  { name: 'a redirect of a HEAD', answer: moved(308), act: (r) => r.resolveManifest('1'), isAsked: true },
  { name: 'a redirect of a list of tags', answer: moved(302), act: (r) => r.someTags(), isAsked: true },
  {
    name: 'a redirect of the referrers',
    answer: moved(302),
    act: (r) => r.referrers(blob.digest),
    isAsked: true,
  },
  { name: 'a redirect of the start of an upload', answer: moved(307), act: upload, isAsked: false },
  {
    name: 'a redirect of a put manifest',
    answer: moved(307),
    act: (r) => r.putManifest('1', sampleManifest()),
    isAsked: false,
  },
  { name: 'the Location of an upload', answer: moved(202, '/upload?_state=x'), act: upload, isAsked: true },
  {
    name: 'the Location of a refused mount',
    answer: moved(202, '/upload?_state=x'),
    act: async (r) => {
      await r.mountBlob(blob.digest, 'other')
      await upload(r)
    },
    isAsked: true,
  },
  {
    name: 'a Location with a user part',
    answer:
      ({ host }) =>
      (_, response) =>
        void response.writeHead(307, { location: `http://bob:${PASSWORD}@${host}/x` }).end(),
    act: (r) => r.openBlob(blob.digest, 0),
    isAsked: true,
  },
  {
    name: 'the Link to the next page of referrers',
    answer:
      ({ origin }) =>
      (_, response) =>
        json(
          response,
          200,
          { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] },
          {
            'content-type': OCI_INDEX,
            link: `<${origin}/v2/app/referrers/x>; rel="next"`,
          },
        ),
    act: (r) => r.referrers(blob.digest),
    isAsked: false,
  },
  {
    name: 'the Link to the next page of tags',
    answer:
      ({ origin }) =>
      (_, response) =>
        json(response, 200, { tags: ['1'] }, { link: `<${origin}/v2/app/tags/list?last=1>; rel="next"` }),
    act: (r) => r.someTags(),
    isAsked: false,
  },
  {
    name: 'the URL of a foreign layer',
    answer: () => (_, response) => registryError(response, 404, 'BLOB_UNKNOWN'),
    act: (repository, { origin }) =>
      downloadBlob(
        [repository],
        { ...blob, urls: [`${origin}/layer`] },
        { write: async () => {}, restartable: true },
        { client: clientOf.get(repository)! },
      ),
    isAsked: true,
  },
]

const clientOf = new WeakMap<Repository, ReturnType<typeof makeClient>>()

function everythingIn({ seen }: TestServer): string {
  return JSON.stringify(
    seen.map(({ method, url, headers, body }) => [method, url, headers, body.toString('latin1')]),
  )
}

describe('[duty: one-origin] credentials are for one origin', () => {
  const WAYS: [name: string, challenge: string][] = [
    ['a password', 'Basic realm="r"'],
    ['a token', 'Bearer realm="/token",service="s"'],
  ]
  for (const [way, challenge] of WAYS) {
    test.each(ATTACKS)(`${way} does not follow $name`, async ({ answer, act, isAsked }) => {
      const other = await thief()
      const attack = answer(other)
      let logins = 0
      const registry = await serve((seen, response, request) => {
        if (seen.path === '/token') return json(response, 200, { token: TOKEN })
        if (seen.headers.authorization === undefined) {
          response.setHeader('www-authenticate', challenge)
          return registryError(response, 401, 'UNAUTHORIZED')
        }
        logins += 1
        return attack(seen, response, request)
      })
      // The other origin is one for which there are credentials, too: they are for images of its own.
      const auths = {
        [registry.host]: basicEntry('bob', PASSWORD),
        [other.host]: basicEntry('eve', 'anoth3r-word'),
      }
      const client = makeClient({ authFile: authFileWith({ auths }), retry: { attempts: 1 } })
      const repository = client.repository(registry.host, 'app')
      clientOf.set(repository, client)
      await act(repository, other).catch((error: Error) => {
        expect(error.name).toBe('AirgapError')
      })
      expect(logins).toBeGreaterThan(0)
      expect(other.seen.length > 0).toBe(isAsked)
      expect(other.seen.map(({ headers }) => headers.authorization ?? headers.cookie)).toEqual(
        other.seen.map(() => undefined),
      )
      const everything = everythingIn(other)
      for (const secret of [PASSWORD, TOKEN, basicEntry('bob', PASSWORD).auth, 'anoth3r-word']) {
        expect(everything).not.toContain(secret)
      }
    })
  }

  test('the same host with another port or scheme is another origin; with the scheme’s own port it is not', async () => {
    const memory = sampleManifest()
    const registry = await serve((seen, response) => {
      if (seen.headers.authorization === undefined) {
        response.setHeader('www-authenticate', 'Basic realm="r"')
        return registryError(response, 401, 'UNAUTHORIZED')
      }
      // A path of the same origin, spelled out: credentials go along.
      if (seen.path.endsWith('/1'))
        return void response.writeHead(302, { location: `${registry.origin}/moved` }).end()
      response.writeHead(200, { 'content-type': memory.mediaType }).end(memory.bytes)
    })
    const authFile = authFileWith({ auths: { [registry.host]: basicEntry('bob', PASSWORD) } })
    const fetched = await makeClient({ authFile }).repository(registry.host, 'app').fetchManifest('1')
    expect(fetched.digest).toBe(memory.digest)
    expect(registry.seen.map(({ headers }) => headers.authorization !== undefined)).toEqual([
      false,
      true,
      true,
    ])
    expect(new URL('https://r.example:443').origin).toBe(new URL('https://r.example').origin)
    expect(new URL('https://r.example:444').origin).not.toBe(new URL('https://r.example').origin)
  })
})
