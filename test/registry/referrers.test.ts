import { expect, test } from 'vitest'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import type { Repository } from '../../src/registry/repository.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  json,
  makeClient,
  registryError,
  serve,
  type Handler,
  type TestServer,
} from '../support/client.ts'

const SUBJECT = digestOf('the image')
const config = { mediaType: OCI_CONFIG, digest: digestOf('{}'), size: 2 }

/** A manifest that names a subject, as it stands in an index and as a document. */
function referrer(name: string, subject: Digest = SUBJECT) {
  const document = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config,
      layers: [],
      subject: { mediaType: OCI_MANIFEST, digest: subject, size: 9 },
      annotations: { name },
    }),
  )
  return {
    document,
    descriptor: { mediaType: OCI_MANIFEST, digest: digestOf(document), size: document.length },
  }
}

function index(...all: ReturnType<typeof referrer>[]): object {
  return { schemaVersion: 2, mediaType: OCI_INDEX, manifests: all.map(({ descriptor }) => descriptor) }
}

const AS_INDEX = { 'content-type': OCI_INDEX }
const LIST = `/v2/app/referrers/${SUBJECT}`
const TAG = `/v2/app/manifests/${SUBJECT.replace(':', '-')}`

async function repositoryAt(handler: Handler): Promise<{ repository: Repository; server: TestServer }> {
  const server = await serve(handler)
  const authFile = authFileWith({ auths: { [server.host]: basicEntry('user', 's3cret-word') } })
  return { repository: makeClient({ authFile }).repository(server.host, 'app'), server }
}

async function listed(repository: Repository): Promise<Digest[]> {
  return (await repository.referrers(SUBJECT)).map(({ digest }) => digest)
}

test('by the registry’s own list, over several pages, each thing once', async () => {
  const [one, two, three] = [referrer('1'), referrer('2'), referrer('3')]
  const { repository, server } = await repositoryAt((seen, response) => {
    if (seen.query.get('page') === '2') json(response, 200, index(two, three), AS_INDEX)
    else json(response, 200, index(one, two), { ...AS_INDEX, link: `<${LIST}?page=2>; rel="next"` })
  })
  expect(await listed(repository)).toEqual([one, two, three].map(({ descriptor }) => descriptor.digest))
  expect(server.lines()).toEqual([`GET ${LIST}`, `GET ${LIST}?page=2`])
})

test('none', async () => {
  const { repository } = await repositoryAt((_, response) => json(response, 200, index(), AS_INDEX))
  expect(await listed(repository)).toEqual([])
})

test.each([400, 404, 405, 406, 415, 401])(
  '%i to the list leads to the tag that stands in for it',
  async (status) => {
    const [ours, other] = [referrer('ours'), referrer('other', digestOf('another image'))]
    const { repository, server } = await repositoryAt((seen, response) => {
      // Without a challenge, as Harbor 2.7 did.
      if (seen.path === LIST) registryError(response, status, 'UNSUPPORTED')
      else if (seen.path === TAG) json(response, 200, index(ours, other, ours), AS_INDEX)
      else registryError(response, 404, 'MANIFEST_UNKNOWN')
    })
    // Whether they name the subject is for whoever reads them: nothing of a list is sure.
    expect(await listed(repository)).toEqual([ours.descriptor.digest, other.descriptor.digest])
    expect(server.lines()).toEqual([`GET ${LIST}`, `GET ${TAG}`])
  },
)

test('neither list nor tag', async () => {
  const { repository } = await repositoryAt((_, response) => registryError(response, 404, 'MANIFEST_UNKNOWN'))
  expect(await listed(repository)).toEqual([])
})

test('a list that is null is empty, by the request and by the tag', async () => {
  const empty = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: null }
  const { repository } = await repositoryAt((_, response) => json(response, 200, empty, AS_INDEX))
  expect(await listed(repository)).toEqual([])
  const { repository: other } = await repositoryAt((seen, response) =>
    seen.path === LIST ? registryError(response, 404, 'X') : json(response, 200, empty, AS_INDEX),
  )
  expect(await listed(other)).toEqual([])
})

test('403 to the tag is no list, where the image may be read, and is told once a repository', async () => {
  const server = await serve((seen, response) => {
    if (seen.path === LIST) registryError(response, 404, 'NOT_FOUND')
    else if (seen.path.endsWith(SUBJECT)) {
      response.writeHead(200, {
        'content-type': OCI_MANIFEST,
        'docker-content-digest': SUBJECT,
        'content-length': 9,
      })
      response.end()
    } else registryError(response, 403, 'DENIED')
  })
  const client = makeClient()
  const repository = client.repository(server.host, 'app')
  expect(await listed(repository)).toEqual([])
  expect(await listed(repository)).toEqual([])
  expect(await repository.resolveAttached('sha256-x.sig', SUBJECT)).toBeUndefined()
  expect(await repository.fetchAttached('sha256-x.sig', SUBJECT)).toBeUndefined()
  expect(server.lines().filter((line) => line.startsWith('HEAD') && line.endsWith(SUBJECT))).toHaveLength(1)
  expect(client.notices).toEqual([{ type: 'warning', message: expect.stringContaining('403') as string }])
  // Where the image is forbidden, too, it is a lack of rights.
  const other = digestOf('an image that may not be read')
  const closed = makeClient().repository(server.host, 'app')
  await failureOf(closed.resolveAttached('sha256-x.sig', other), 'DENIED')
})

test('a tag that leads to the subject itself, or to any other manifest, is no list', async () => {
  const { document } = referrer('x')
  const { repository } = await repositoryAt((seen, response) => {
    if (seen.path === LIST) registryError(response, 404, 'NOT_FOUND')
    else response.writeHead(200, { 'content-type': OCI_MANIFEST }).end(document)
  })
  expect(await listed(repository)).toEqual([])
})

test.each([
  [403, 'DENIED'],
  [500, 'REGISTRY'],
] as const)('%i is a failure, not an empty list', async (status, code) => {
  const { repository } = await repositoryAt((_, response) => registryError(response, status, 'X'))
  const error = await failureOf(repository.referrers(SUBJECT), code)
  expect(error.message).toContain(`what refers to ${repository.name}@${SUBJECT}`)
})

test('a next page on another host gets no request, and no credentials', async () => {
  const thief = await serve((_, response) => json(response, 200, index(), AS_INDEX))
  const { repository } = await repositoryAt((seen, response) => {
    if (seen.headers.authorization === undefined) {
      response.setHeader('www-authenticate', 'Basic realm="r"')
      return registryError(response, 401, 'UNAUTHORIZED')
    }
    json(response, 200, index(), { ...AS_INDEX, link: `<${thief.origin}${LIST}>; rel="next"` })
  })
  const error = await failureOf(repository.referrers(SUBJECT), 'REGISTRY')
  expect(error.message).toContain(thief.host)
  expect(thief.seen).toEqual([])
})

test('pages without end are given up', async () => {
  let page = 0
  const { repository } = await repositoryAt((_, response) => {
    page += 1
    json(response, 200, index(), { ...AS_INDEX, link: `<${LIST}?page=${page}>; rel="next"` })
  })
  await failureOf(repository.referrers(SUBJECT), 'REGISTRY')
  expect(page).toBeLessThan(1000)
})

test('an answer larger than a manifest may be is given up', async () => {
  const { repository } = await repositoryAt((_, response) => {
    response.writeHead(200, AS_INDEX)
    const blanks = Buffer.alloc(1024 ** 2, ' ')
    for (let i = 0; i < 12; i += 1) response.write(blanks)
    response.end()
  })
  await failureOf(repository.referrers(SUBJECT), 'INVALID_CONTENT')
})

test('a registry without the API is asked once for each first part of a name, and says so of itself only', async () => {
  const answers = { plain: [404, 'UNSUPPORTED'], about: [404, 'MANIFEST_UNKNOWN'] } as const
  for (const [group, [status, code]] of Object.entries(answers)) {
    const server = await serve((seen, response) =>
      registryError(
        response,
        seen.path.includes('/referrers/') ? status : 404,
        seen.path.includes('/referrers/') ? code : 'MANIFEST_UNKNOWN',
      ),
    )
    const client = makeClient({})
    const asked = (): number => server.seen.filter(({ path }) => path.includes('/referrers/')).length
    for (const name of [`${group}/a`, `${group}/b`])
      await client.repository(server.host, name).referrers(SUBJECT)
    expect(asked()).toBe(group === 'plain' ? 1 : 2)
    await client.repository(server.host, 'other/a').referrers(SUBJECT)
    expect(asked()).toBe(group === 'plain' ? 2 : 3)
  }
})

test.each<
  [
    name: string,
    pages: (page: number) => [status: number, body: unknown, next: boolean],
    tags: string[] | undefined,
  ]
>([
  ['two pages', (page) => [200, { tags: [`t${page}`, '/bad'] }, page < 2], ['t1', 't2']],
  ['no tags', () => [200, { tags: null }, false], []],
  ['more pages than are worth it', (page) => [200, { tags: [`t${page}`] }, true], undefined],
  ['no list', () => [404, {}, false], undefined],
  ['nobody may list', () => [403, {}, false], undefined],
  ['something else', () => [200, { tags: 'all' }, false], undefined],
])('all tags: %s', async (_, pages, tags) => {
  const server = await serve((seen, response) => {
    const page = Number(seen.query.get('page') ?? 1)
    const [status, body, next] = pages(page)
    json(response, status, body, next ? { link: `<${seen.path}?page=${page + 1}>; rel="next"` } : {})
  })
  const found = await makeClient({}).repository(server.host, 'app').allTags()
  expect(found && [...found]).toEqual(tags)
  expect(server.seen.length).toBeLessThanOrEqual(4)
})

test('the tags of registries that can be caches are not listed', async () => {
  for (const host of ['1.dkr.ecr.eu-west-1.amazonaws.com', 'europe-docker.pkg.dev', 'corp.azurecr.io:443']) {
    expect(await makeClient({}).repository(host, 'app').allTags()).toBeUndefined()
  }
})
