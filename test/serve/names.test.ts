import { expect, test } from 'vitest'
import { AMD64, ARM64, buildIndex, image, singleManifest, type Built } from '../../fixtures/images/index.ts'
import { gist, serveFiles, serveImages, writeBundles } from './serving.ts'

const ok = (built: Built): string => `200 ${built.descriptor.digest}`

test('an image answers to its full name, to that without the registry, and by ?ns=', async () => {
  const built = await image('nginx', AMD64)
  const { get, served } = await serveImages([{ source: 'docker.io/library/nginx:1.29', built }])
  for (const path of [
    'docker.io/library/nginx/manifests/1.29',
    'library/nginx/manifests/1.29',
    'library/nginx/manifests/1.29?ns=docker.io',
    'library/nginx/manifests/1.29?ns=',
    'docker.io/library/nginx/manifests/1.29?ns=docker.io',
    `library/nginx/manifests/${built.descriptor.digest}?ns=docker.io`,
  ]) {
    expect([path, await gist(await get(path))]).toEqual([path, ok(built)])
  }
  expect(await gist(await get('nginx/manifests/1.29'))).toBe('404 MANIFEST_UNKNOWN')
  expect(await gist(await get('docker.io/nginx/manifests/1.29'))).toBe('404 MANIFEST_UNKNOWN')
  expect(served.repositories).toEqual(['docker.io/library/nginx', 'library/nginx'])
})

test('?ns= takes Docker Hub under each of its names, and registries in either case and with ports', async () => {
  const hub = await image('hub', AMD64)
  const own = await image('own', AMD64)
  const { get } = await serveImages([
    { source: 'docker.io/team/app:1', built: hub },
    { source: 'Registry.internal:5000/team/app:1', built: own },
  ])
  for (const ns of ['docker.io', 'index.docker.io', 'registry-1.docker.io']) {
    expect(await gist(await get(`team/app/manifests/1?ns=${ns}`))).toBe(ok(hub))
  }
  for (const ns of ['registry.internal:5000', 'REGISTRY.internal%3A5000']) {
    expect(await gist(await get(`team/app/manifests/1?ns=${ns}`))).toBe(ok(own))
  }
  expect(await gist(await get('registry.internal_5000/team/app/manifests/1'))).toBe(ok(own))
})

test('a registry that no bundle has anything of is not given what another one has', async () => {
  const built = await image('nginx', AMD64)
  const { get } = await serveImages([{ source: 'docker.io/library/nginx:1', built }])
  for (const ns of ['gcr.io', 'docker.io.evil.example', '../docker.io', 'docker.io:443']) {
    expect(await gist(await get(`library/nginx/manifests/1?ns=${encodeURIComponent(ns)}`))).toMatch(/^404/)
    expect(await gist(await get(`library/nginx/tags/list?ns=${encodeURIComponent(ns)}`))).toMatch(/^404/)
  }
  // A full name says by itself what it means.
  expect(await gist(await get('docker.io/library/nginx/manifests/1?ns=airgap.internal'))).toBe(ok(built))
})

test('a short name for two images is refused, with the names to use; everything else about it is served', async () => {
  const [hub, quay, both] = [
    await image('hub', AMD64),
    await image('quay', AMD64),
    await image('both', AMD64),
  ]
  const { get, served } = await serveImages(
    [
      { source: 'docker.io/library/nginx:1.29', built: hub },
      { source: 'docker.io/library/nginx:same', built: both },
    ],
    [
      { source: 'quay.io/library/nginx:1.29', built: quay },
      { source: 'quay.io/library/nginx:same', built: both },
      { source: 'quay.io/library/nginx:2', built: quay },
    ],
  )
  for (const method of ['GET', 'HEAD']) {
    expect((await get('library/nginx/manifests/1.29', { method })).status).toBe(400)
  }
  for (const path of ['library/nginx/manifests/1.29', 'library/nginx/tags/list']) {
    const { errors } = (await (await get(path)).json()) as { errors: { code: string; message: string }[] }
    expect(errors[0]?.code).toBe('NAME_INVALID')
    for (const built of [hub, quay]) expect(errors[0]?.message).toContain(built.descriptor.digest)
    expect(errors[0]?.message).toContain('docker.io/library/nginx:1.29')
    expect(errors[0]?.message).toContain('quay.io/library/nginx:1.29')
  }
  expect(served.ambiguous).toEqual([
    { name: 'library/nginx:1.29', use: ['docker.io/library/nginx:1.29', 'quay.io/library/nginx:1.29'] },
  ])
  expect(served.repositories).toEqual(['docker.io/library/nginx', 'quay.io/library/nginx'])

  expect(await gist(await get('library/nginx/manifests/same'))).toBe(ok(both))
  expect(await gist(await get('library/nginx/manifests/2'))).toBe(ok(quay))
  expect(await gist(await get(`library/nginx/manifests/${quay.descriptor.digest}`))).toBe(ok(quay))
  expect(await gist(await get('library/nginx/manifests/1.29?ns=docker.io'))).toBe(ok(hub))
  expect(await gist(await get('library/nginx/manifests/1.29?ns=quay.io'))).toBe(ok(quay))
  expect(await gist(await get('docker.io/library/nginx/manifests/1.29'))).toBe(ok(hub))
  const tags = (await (await get('library/nginx/tags/list?ns=quay.io')).json()) as object
  expect(tags).toEqual({ name: 'library/nginx', tags: ['1.29', '2', 'same'] })
})

test('repositories of several registries that agree are one under their short name', async () => {
  const [one, two] = [await image('one', AMD64), await image('two', AMD64)]
  const { get, served } = await serveImages([
    { source: 'docker.io/team/app:1', built: one },
    { source: 'quay.io/team/app:2', built: two },
  ])
  expect(await (await get('team/app/tags/list')).json()).toEqual({ name: 'team/app', tags: ['1', '2'] })
  expect(served.repositories).toContain('team/app')
})

test('a full name is never taken for a short one', async () => {
  const [real, other] = [await image('real', AMD64), await image('other', AMD64)]
  const { get } = await serveImages([
    { source: 'ghcr.io/team/app:1', built: real },
    { source: 'docker.io/ghcr.io/team/app:1', built: other },
  ])
  expect(await gist(await get('ghcr.io/team/app/manifests/1'))).toBe(ok(real))
  expect(await gist(await get('ghcr.io/team/app/manifests/1?ns=ghcr.io'))).toBe(ok(real))
  expect(await gist(await get('ghcr.io/team/app/manifests/1?ns=docker.io'))).toBe(ok(other))
  expect(await gist(await get('docker.io/ghcr.io/team/app/manifests/1'))).toBe(ok(other))
})

test('one full name with two digests in two bundles is refused at the start, with both files', async () => {
  const files = await writeBundles(
    [{ source: 'docker.io/library/nginx:1', built: await image('one', AMD64) }],
    [{ source: 'docker.io/library/nginx:1', built: await image('two', AMD64) }],
  )
  await expect(serveFiles(files)).rejects.toMatchObject({
    code: 'NAME_CONFLICT',
    problems: [
      { entry: 'docker.io/library/nginx:1', message: expect.stringMatching(/a\.tar has .*b\.tar has/) },
    ],
  })
})

test('the same image in two bundles is one', async () => {
  const built = await image('nginx', AMD64)
  const images = [{ source: 'docker.io/library/nginx:1', built }]
  const { get } = await serveImages(images, images)
  expect(await gist(await get('library/nginx/manifests/1'))).toBe(ok(built))
})

test('tag and digest, and a digest alone, which gets a tag to be listed by', async () => {
  const [tagged, pinned] = [await image('tagged', AMD64), await image('pinned', AMD64)]
  const { get } = await serveImages([
    { source: `docker.io/team/app:1@${tagged.descriptor.digest}`, built: tagged },
    { source: `docker.io/team/app@${pinned.descriptor.digest}`, built: pinned },
  ])
  const tag = `airgap-${pinned.descriptor.digest.slice('sha256:'.length, 'sha256:'.length + 12)}`
  expect(await (await get('team/app/tags/list')).json()).toEqual({ name: 'team/app', tags: ['1', tag] })
  for (const [reference, built] of [
    ['1', tagged],
    [tagged.descriptor.digest, tagged],
    [tag, pinned],
    [pinned.descriptor.digest, pinned],
  ] as const) {
    expect(await gist(await get(`team/app/manifests/${reference}`))).toBe(ok(built))
  }
})

test('a registry at an IPv6 address is there by its full name, as push writes it, its short name and ?ns=', async () => {
  const built = await singleManifest()
  const { get, served } = await serveImages([{ source: '[2001:db8::1]:5000/team/app:1', built }])
  expect(await gist(await get('team/app/manifests/1'))).toBe(ok(built))
  expect(await gist(await get(`team/app/manifests/1?ns=${encodeURIComponent('[2001:db8::1]:5000')}`))).toBe(
    ok(built),
  )
  expect(served.repositories).toEqual(['2001-db8-0-0-0-0-0-1_5000/team/app', 'team/app'])
  expect(await gist(await get('2001-db8-0-0-0-0-0-1_5000/team/app/manifests/1'))).toBe(ok(built))
})

test('a full name that is too long for one is not there; the short name and ?ns= are', async () => {
  const built = await singleManifest()
  const long = `team/${'a'.repeat(240)}`
  const { get, served } = await serveImages([{ source: `registry.example:5000/${long}:1`, built }])
  expect(await gist(await get(`${long}/manifests/1`))).toBe(ok(built))
  expect(await gist(await get(`${long}/manifests/1?ns=registry.example:5000`))).toBe(ok(built))
  expect(served.repositories).toEqual([long])
})

test('a part of an index: the part under the tag, the source’s index by its digest, what is missing is missing', async () => {
  const [amd, arm] = [await image('app', AMD64), await image('app', ARM64)]
  const index = buildIndex([amd, arm])
  const { get } = await serveImages([
    { source: 'docker.io/team/app:1', built: index, platforms: ['linux/arm64'] },
  ])
  expect(await gist(await get('team/app/manifests/1'))).toBe(ok(arm))
  expect(await gist(await get(`team/app/manifests/${index.descriptor.digest}`))).toBe(ok(index))
  expect(await gist(await get(`team/app/manifests/${amd.descriptor.digest}`))).toBe('404 MANIFEST_UNKNOWN')
  expect(await gist(await get(`team/app/blobs/${amd.config.descriptor.digest}`))).toBe('404 BLOB_UNKNOWN')
})
