import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { AMD64, image, seedRegistry, singleManifest } from '../../fixtures/images/index.ts'
import { AirgapError } from '../../src/errors.ts'
import { pack, planPush, push, type PushOptions, type Receipt } from '../../src/index.ts'
import { MemoryStore } from '../support/registry/memory-store.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { newSigner, signer } from '../support/build-bundle.ts'
import { expectShape } from '../support/schemas.ts'
import { seedSigned, signedImage, type Signed } from '../support/attached.ts'
import { startHarbor, type FakeHarbor, type HarborOptions } from '../support/harbor.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

const ROBOT = 'robot$ci'

let source: EmbeddedRegistry
let folder: string
let bundle: string

beforeAll(async () => {
  const store = new MemoryStore()
  seedRegistry(store, 'library/app:1', await singleManifest())
  seedRegistry(store, 'other/tool:2', await image('tool', AMD64))
  source = await startRegistry({ store })
  folder = await mkdtemp(join(tmpdir(), 'airgap-harbor-'))
  bundle = join(folder, 'two.tar')
  await pack({
    images: [`${source.host}/library/app:1`, `${source.host}/other/tool:2`],
    output: bundle,
    key: signer,
  })
})
afterAll(async () => {
  await source.close()
  await rm(folder, { recursive: true })
})

async function harbor(options: HarborOptions = {}): Promise<FakeHarbor> {
  const started = await startHarbor(options)
  onTestFinished(() => started.close())
  return started
}

function login(username = 'admin', password = 'secret'): PushOptions['registries'] {
  return { credentials: async () => ({ username, password }) }
}

const common = { keys: [signer.publicKey] }

function to(target: string, options: Partial<PushOptions> = {}): Promise<Receipt> {
  const maps = options.maps?.map((map) => map.replace('@', source.host))
  return push(bundle, target, { ...common, registries: login(), ...options, ...(maps ? { maps } : {}) })
}

async function failure(promise: Promise<unknown>, code: string): Promise<AirgapError> {
  const error = await promise.then(
    () => expect.fail('it has succeeded'),
    (thrown: unknown) => thrown as AirgapError,
  )
  expect(error).toBeInstanceOf(AirgapError)
  expect({ code: error.code, message: error.message }).toMatchObject({ code })
  return error
}

const writes = (target: EmbeddedRegistry): string[] =>
  target.requests
    .filter(({ method }) => !['GET', 'HEAD'].includes(method))
    .map(({ method, path }) => `${method} ${path}`)
const api = (target: EmbeddedRegistry): string[] =>
  target.requests
    .filter(({ path }) => path.startsWith('/api/'))
    .map(({ method, path }) => `${method} ${path}`)

describe('a push into a Harbor', () => {
  it('says which project is missing, and the way out', async () => {
    const target = await harbor({ projects: { library: {} } })
    const error = await failure(to(`${target.host}/mirror`), 'NOT_FOUND')
    expect(error.message).toBe(`${target.host} has no project mirror`)
    expect(hintOf(error)).toContain('--create-projects')
    expect(writes(target)).toEqual([])
  })

  it('lists every missing project where names have no prefix', async () => {
    const target = await harbor()
    const maps = ['@/library=docker.io/library', '@/other=quay.io/other']
    const error = await failure(to(target.host, { maps }), 'NOT_FOUND')
    expect(error.problems.map(({ entry }) => entry)).toEqual(['docker.io', 'quay.io'])
    expect(hintOf(error)).toContain(`${target.host}/PROJECT`)
  })

  it.each<[string, HarborOptions]>([
    ['of an old release', { isOld: true }],
    ['seen by nobody in particular', { users: {} }],
    [
      'seen by a robot account that may not ask the API',
      { users: { [ROBOT]: { password: 'secret', kind: 'system robot', projects: 'all' } }, isOld: true },
    ],
  ])('finds that out from one %s, too', async (_, options) => {
    const target = await harbor(options)
    const name = Object.keys(options.users ?? { admin: 1 })[0]
    const registries = name === undefined ? { credentials: async () => undefined } : login(name)
    const error = await failure(to(`${target.host}/mirror`, { registries }), 'NOT_FOUND')
    expect(error.message).toBe(`${target.host} has no project mirror`)
  })

  it('does not take a project for missing that the account may only not push to', async () => {
    const users = { [ROBOT]: { password: 'secret', kind: 'project robot' as const, projects: ['other'] } }
    const target = await harbor({ projects: { mirror: {} }, users })
    const error = await failure(to(`${target.host}/mirror`, { registries: login(ROBOT) }), 'DENIED')
    expect(error.message).toContain(`the account may not push to the project mirror on ${target.host}`)
    expect(hintOf(error)).toContain('Push and Pull Repository')
  })

  it('says that names need a project', async () => {
    const target = await harbor({ projects: { library: {} } })
    const error = await failure(to(target.host, { path: 'flat' }), 'INVALID_TARGET_NAME')
    expect(error.message).toContain('at least two parts')
    expect(error.problems).toHaveLength(2)
    expect(hintOf(error)).toContain(`${target.host}/PROJECT`)
  })

  it('says that a proxy cache takes no pushes', async () => {
    const target = await harbor({ projects: { hub: { isProxyCache: true } } })
    const error = await failure(to(`${target.host}/hub`), 'INVALID_TARGET_NAME')
    expect(error.message).toBe(`the project hub on ${target.host} is a proxy cache, which accepts no pushes`)
    // With the flag it is known before anything is sent.
    const other = await harbor({ projects: { hub: { isProxyCache: true } } })
    const planned = await failure(
      to(`${other.host}/hub`, { createProjects: 'private' }),
      'INVALID_TARGET_NAME',
    )
    expect(planned.message).toBe(error.message.replace(target.host, other.host))
    expect(writes(other)).toEqual([])
  })

  it('passes on what Harbor says of a quota, with the project', async () => {
    const target = await harbor({ projects: { mirror: { quota: 300 } } })
    const error = await failure(to(`${target.host}/mirror`), 'REGISTRY')
    expect(error.message).toContain(`the project mirror on ${target.host} has no room left`)
    expect(error.message).toContain('will exceed the configured upper limit of 300 B.')
    expect(hintOf(error)).toContain('Project Quotas')
    const names = target.store.repositories()
    expect(names.flatMap((name) => target.store.tags(name) ?? [])).toEqual([])
  })

  it('says once that all of it is read-only, and tries no more than that', async () => {
    for (const createProjects of [undefined, 'private' as const]) {
      const target = await harbor({ projects: createProjects ? {} : { mirror: {} }, isReadOnly: true })
      const warnings: string[] = []
      const onEvent: PushOptions['onEvent'] = ({ type }) => void (type === 'failed' && warnings.push(type))
      const error = await failure(
        to(`${target.host}/mirror`, { createProjects, onEvent, concurrency: 1 }),
        'REGISTRY',
      )
      expect(error.exitCode).toBe(4)
      expect(error.message).toContain('the registry is read-only here')
      expect(hintOf(error)).toContain('end the read-only mode (Harbor: Configuration, System Settings)')
      expect(hintOf(error)).not.toContain('permission')
      expect([warnings, writes(target).length]).toEqual([[], 1])
    }
  })

  it('says which tag a rule makes immutable', async () => {
    const target = await harbor({ projects: { mirror: { immutable: ['2'] } } })
    const { problems, hint } = await failure(to(`${target.host}/mirror`), 'INCOMPLETE')
    expect(problems.map(({ code, message }) => [code, message])).toEqual([
      ['REGISTRY', expect.stringMatching(/mirror\/\S+\/tool:2' configured as immutable/)],
    ])
    expect(hint).toContain('Tag Immutability')
  })

  it('asks nothing of its API when all is well', async () => {
    const target = await harbor({ projects: { mirror: {} } })
    await to(`${target.host}/mirror`)
    expect(api(target)).toEqual([])
  })
})

describe('an account whose password is wrong', () => {
  const users = { [ROBOT]: { password: 'rotated', kind: 'system robot' as const, projects: 'all' as const } }
  const tokens = (target: EmbeddedRegistry): number =>
    target.requests.filter(({ path }) => path === '/service/token').length

  it.each(['mirror', 'missing'])('is told so by a push into the project %s', async (project) => {
    const target = await harbor({ projects: { mirror: {} }, users })
    const { message, exitCode } = await failure(
      to(`${target.host}/${project}`, { registries: login(ROBOT) }),
      'UNAUTHORIZED',
    )
    expect(message).toContain('user name and password are not accepted')
    expect(exitCode).toBe(5)
    // It is not tried for every image: accounts get locked.
    expect(tokens(target)).toBe(2)
  })

  it('is told so by a pack, and one that lacks a right is told that', async () => {
    const target = await harbor({ projects: { library: {} }, users })
    const packed = (password: string, project: string): Promise<unknown> =>
      pack({
        images: [`${target.host}/${project}/app:1`, `${target.host}/${project}/app:2`],
        output: join(folder, 'never.tar'),
        key: signer,
        registries: login(ROBOT, password),
      })
    const { problems } = await failure(packed('secret', 'library'), 'UNAUTHORIZED')
    expect(problems[0]?.message).toContain('are not accepted')
    users[ROBOT] = { ...users[ROBOT], projects: [] as never }
    expect((await failure(packed('rotated', 'library'), 'DENIED')).problems[0]?.message).toContain(
      'permission denied to the account "robot$ci"',
    )
  })
})

describe('a pack from a Harbor', () => {
  it.each([
    ['an account', login()],
    ['nobody', { credentials: async () => undefined }],
  ])('tells %s that there is no such project', async (_, registries) => {
    const target = await harbor({ projects: { library: {} } })
    const images = [`${target.host}/libary/app:1`]
    const error = await failure(
      pack({ images, output: join(folder, 'never.tar'), key: signer, registries }),
      'NOT_FOUND',
    )
    expect(error.message).toContain('the registry has no project "libary"')
    expect(hintOf(error)).toContain('the first part of the path')
  })
})

describe('a project that gives out only what cosign has signed', () => {
  let all: Signed
  let signed: string
  const names = (target: EmbeddedRegistry): string[] =>
    target.store.repositories().flatMap((name) => target.store.tags(name) ?? [])

  beforeAll(async () => {
    all = await signedImage()
    await using upstream = await startRegistry()
    seedSigned(upstream.store, 'app', all)
    signed = join(folder, 'signed.tar')
    await pack({ images: [`${upstream.host}/app:1`], output: signed, key: signer })
  })

  it('takes a signed image, twice; that its SBOMs cannot be read is a warning', async () => {
    const target = await harbor({ projects: { mirror: { wantsCosign: true } } })
    for (const round of [1, 2]) {
      const warnings: string[] = []
      const receipt = await push(signed, `${target.host}/mirror`, {
        ...common,
        registries: login(),
        stateDirectory: false,
        path: 'strip-host',
        onEvent: (event) => event.type === 'warning' && warnings.push(event.message),
      })
      expect([round, receipt.complete, receipt.images[0]?.tag.state]).toEqual([
        round,
        true,
        round === 1 ? 'created' : 'unchanged',
      ])
      expect(warnings).toEqual([expect.stringContaining('a policy of the project forbids pulling it')])
    }
    expect(names(target)).toContain('1')
  })

  it('says how to sign where the tags of signatures are immutable', async () => {
    const target = await harbor({ projects: { mirror: { immutable: 'all' } } })
    const options = {
      ...common,
      registries: login(),
      stateDirectory: false as const,
      path: 'strip-host' as const,
    }
    await push(signed, `${target.host}/mirror`, options)
    const key = newSigner()
    const error = await failure(
      push(signed, `${target.host}/mirror`, { ...options, signImages: { key, formats: ['cosign'] } }),
      'REGISTRY',
    )
    expect(error.message).toContain('does not allow adding a signature')
    expect(hintOf(error)).toContain('--image-signature-format sigstore-bundle')
    expect(hintOf(error)).toContain('sha256-*')
    const bundles = { key, formats: ['sigstore-bundle'] as const }
    const receipt = await push(signed, `${target.host}/mirror`, { ...options, signImages: bundles })
    expect(receipt.complete).toBe(true)
  })

  it('is named where an image has no signature, and pushing again with one of our own mends it', async () => {
    const target = await harbor({ projects: { mirror: { wantsCosign: true } } })
    for (const _ of [1, 2]) {
      const receipts: Receipt[] = []
      const onIncomplete = (one: Receipt): void => void receipts.push(one)
      const error = await failure(to(`${target.host}/mirror`, { onIncomplete }), 'REGISTRY')
      for (const { images } of receipts)
        expect(images.map(({ tag }) => tag.unconfirmed)).toEqual([true, true])
      expect(error.message).toContain(`the project mirror on ${target.host} does not allow reading the image`)
      expect(hintOf(error)).toContain('--sign-images')
    }
    const receipt = await to(`${target.host}/mirror`, { signImages: { key: newSigner() } })
    expect(receipt.images.map(({ tag }) => tag.state)).toEqual(['unchanged', 'unchanged'])
  })

  it('lets be packed what is signed; what is held back of it is told and left out', async () => {
    const target = await harbor({ projects: { library: { wantsCosign: true } } })
    seedSigned(target.store, 'library/app', all)
    seedRegistry(target.store, 'library/plain:1', await singleManifest())
    const warnings: string[] = []
    const into = { key: signer, registries: login() }
    const { description } = await pack({
      ...into,
      output: join(folder, 'again.tar'),
      images: [`${target.host}/library/app:1`],
      platforms: ['linux/amd64'],
      onEvent: (event) => event.type === 'warning' && warnings.push(event.message),
    })
    expect(description.images[0]?.referrers?.map(({ tag }) => tag?.slice(-4))).toContain('.sig')
    expect(warnings.join('\n')).toContain('a policy of the project forbids pulling it')
    const plain = { output: join(folder, 'plain.tar'), images: [`${target.host}/library/plain:1`] }
    const error = await failure(pack({ ...into, ...plain }), 'REGISTRY')
    expect(error.message).toContain('a policy of the project forbids pulling it')
    expect(hintOf(error)).toContain('cosign sign')
  })
})

describe('--create-projects', () => {
  it('plans what is missing, and creates it before anything is sent', async () => {
    const target = await harbor({ projects: { 'quay.io': {} } })
    const maps = ['@/library=docker.io/library', '@/other=quay.io/other']
    const given = maps.map((map) => map.replace('@', source.host))
    const options = { ...common, registries: login(), maps: given, createProjects: 'private' as const }
    const plan = await planPush(bundle, target.host, options)
    expect(plan.createdProjects).toEqual([{ name: 'docker.io', visibility: 'private' }])
    expect(writes(target)).toEqual([])
    const receipt = await to(target.host, { maps, createProjects: 'private' })
    expectShape('receipt', receipt)
    expect(receipt.createdProjects).toEqual([{ name: 'docker.io', visibility: 'private' }])
    expect(target.created).toEqual([{ project_name: 'docker.io', metadata: { public: 'false' } }])
    expect(writes(target)[0]).toBe('POST /api/v2.0/projects')
    expect(receipt.images.map((one) => one.target)).toEqual([
      `${target.host}/docker.io/library/app:1`,
      `${target.host}/quay.io/other/tool:2`,
    ])
    const again = await to(target.host, { maps, createProjects: 'private' })
    expect(again.createdProjects).toBeUndefined()
    expect(target.created).toHaveLength(1)
  })

  it('makes them public where that is asked for, also on an old release', async () => {
    const target = await harbor({ isOld: true })
    await to(`${target.host}/mirror`, { createProjects: 'public' })
    expect(target.created).toEqual([{ project_name: 'mirror', metadata: { public: 'true' } }])
  })

  it('sends credentials to the API as Basic, with the $ of a robot account in its name', async () => {
    const users = {
      [ROBOT]: { password: 'pa:ss wörd', kind: 'system robot' as const, projects: 'all' as const },
    }
    const target = await harbor({ users })
    const receipt = await to(`${target.host}/mirror`, {
      registries: login(ROBOT, 'pa:ss wörd'),
      createProjects: 'private',
    })
    expect(receipt.createdProjects).toEqual([{ name: 'mirror', visibility: 'private' }])
    const asked = target.requests.filter(({ path }) => path.startsWith('/api/v2.0/projects'))
    expect(new Set(asked.map(({ authorization }) => authorization))).toEqual(new Set(['basic']))
  })

  it('takes one that somebody else creates in the meantime as it is', async () => {
    const target = await harbor()
    // Not there when it is looked for, there when it is to be created.
    target.projects.has = (name) => target.projects.set(name, {}) !== undefined
    const receipt = await to(`${target.host}/mirror`, { createProjects: 'private' })
    expect(receipt.createdProjects).toBeUndefined()
    expect(target.created).toHaveLength(1)
  })

  it.each<[string, HarborOptions, string]>([
    [
      'a project’s robot account',
      { users: { [ROBOT]: { password: 'secret', kind: 'project robot', projects: ['x'] } } },
      'Only system level robot',
    ],
    [
      'a user where only administrators may',
      { adminOnly: true, users: { [ROBOT]: { password: 'secret', kind: 'user', projects: [] } } },
      'Only system admin',
    ],
  ])('says what %s lacks', async (_, options, said) => {
    const target = await harbor(options)
    const error = await failure(
      to(`${target.host}/mirror`, { registries: login(ROBOT), createProjects: 'private' }),
      'DENIED',
    )
    expect(error.message).toContain(`cannot create the project mirror on ${target.host}`)
    expect(error.message).toContain(said)
    expect(hintOf(error)).toContain('Project: Create')
    expect(writes(target)).toEqual(['POST /api/v2.0/projects'])
  })

  it('says that a robot account has no rights in what it has created', async () => {
    const users = { [ROBOT]: { password: 'secret', kind: 'system robot' as const, projects: ['x'] } }
    const target = await harbor({ users })
    const warnings: string[] = []
    const onEvent: PushOptions['onEvent'] = (event) =>
      void (event.type === 'failed' && warnings.push(event.message))
    const error = await failure(
      to(`${target.host}/mirror`, { registries: login(ROBOT), createProjects: 'private', onEvent }),
      'DENIED',
    )
    expect(hintOf(error)).toContain('covers all projects')
    // There is one explanation, and no other beside it.
    expect(warnings).toEqual([])
  })

  it('is told apart from wrong credentials and from none', async () => {
    const target = await harbor()
    const create = { createProjects: 'private' as const }
    await failure(
      to(`${target.host}/mirror`, { ...create, registries: login('admin', 'wrong') }),
      'UNAUTHORIZED',
    )
    const none = { credentials: async () => undefined }
    await failure(to(`${target.host}/mirror`, { ...create, registries: none }), 'UNAUTHORIZED')
    expect(writes(target)).toEqual([])
  })

  it('refuses names that no project can have before it asks for any', async () => {
    const target = await harbor()
    const error = await failure(
      to(target.host, { maps: ['@=a__b'], createProjects: 'private' }),
      'INVALID_TARGET_NAME',
    )
    expect(error.problems[0]?.entry).toBe('a__b')
    expect(api(target)).toEqual([])
  })

  it('is for Harbor alone, also behind something with a challenge of its own', async () => {
    const hidden = await harbor({ hidesChallenge: true })
    const receipt = await to(`${hidden.host}/mirror`, { createProjects: 'private' })
    expect(receipt.createdProjects).toHaveLength(1)
    const other = await startRegistry()
    onTestFinished(() => other.close())
    const error = await failure(to(`${other.host}/mirror`, { createProjects: 'private' }), 'USAGE')
    expect(error.message).toContain('is not Harbor')
    expect(writes(other)).toEqual([])
  })
})

describe('a registry that is no Harbor', () => {
  it('is asked nothing beside its own API, also after a failure', async () => {
    const target = await startRegistry({ auth: { bearer: { users: { admin: 'other' } } } })
    onTestFinished(() => target.close())
    await failure(to(`${target.host}/mirror`), 'UNAUTHORIZED')
    expect(target.requests.every(({ path }) => path.startsWith('/v2/') || path === '/token')).toBe(true)
  })

  it.each([
    [400, 'NAME_INVALID', 'allows fewer path parts'],
    [403, 'DENIED', 'Docker Hub'],
    [404, 'NAME_UNKNOWN', 'Amazon ECR'],
  ])('names --path flat where it answers %i %s to a deep name', async (status, code, words) => {
    const target = await startRegistry({
      front: async ({ method }) => {
        if (method !== 'POST') return undefined
        const body = Buffer.from(JSON.stringify({ errors: [{ code, message: 'no' }] }))
        return { status, headers: { 'Content-Length': String(body.length) }, body }
      },
    })
    onTestFinished(() => target.close())
    const error = await failure(
      to(`${target.host}/group/project`),
      status === 400 ? 'REGISTRY' : status === 403 ? 'DENIED' : 'NOT_FOUND',
    )
    const hint = hintOf(error)
    expect(hint).toContain('--path flat')
    expect(hint).toContain(words)
    const flat = await to(`${target.host}/group/project`, { path: 'flat' }).catch(
      (error: unknown) => error as AirgapError,
    )
    expect(hintOf(flat as AirgapError) ?? '').not.toContain('--path flat')
  })
})
