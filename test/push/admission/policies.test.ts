import { readFile } from 'node:fs/promises'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { AirgapError } from '../../../src/errors.ts'
import { clusterPolicy, type ClusterPolicyOptions, type Enforcer } from '../../../src/index.ts'
import { newSigner } from '../../support/build-bundle.ts'

const key = newSigner('cluster.pub').publicKey
const other = newSigner('next.pub').publicKey
const pem = (of: typeof key): string => of.keyObject.export({ type: 'spki', format: 'pem' }).toString()

async function make(enforcer: Enforcer, options: Partial<ClusterPolicyOptions> = {}) {
  return clusterPolicy(enforcer, { registries: ['harbor.internal/mirror'], keys: [key], ...options })
}

async function refusal(enforcer: Enforcer, options: Partial<ClusterPolicyOptions>): Promise<AirgapError> {
  const error = await make(enforcer, options).then(
    () => expect.fail('a policy was made'),
    (thrown: unknown) => thrown as AirgapError,
  )
  expect(error).toBeInstanceOf(AirgapError)
  expect(error.code).toBe('USAGE')
  return error
}

/** A schema in which only the members named are allowed, as `kubectl apply` has it. */
async function strict(name: string): Promise<(document: unknown) => string> {
  const schema = JSON.parse(
    await readFile(new URL(`../../../fixtures/crds/${name}.json`, import.meta.url), 'utf8'),
  )
  const close = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(close)
    if (typeof part !== 'object' || part === null) return part
    const closed = Object.fromEntries(Object.entries(part).map(([name_, value]) => [name_, close(value)]))
    return 'properties' in part ? { ...closed, additionalProperties: false } : closed
  }
  const ajv = new Ajv({ strict: false, allErrors: true })
  const validate = ajv.compile(close(schema) as object)
  return (document) => (validate(document) ? '' : ajv.errorsText(validate.errors))
}

describe.each<Enforcer>(['kyverno', 'policy-controller', 'containers'])('the files for %s', (enforcer) => {
  it('are what their text says, read by any reader of YAML', async () => {
    const { files } = await make(enforcer, { keys: [key, other] })
    for (const { text, documents } of files) {
      const read = parseAllDocuments(text, { uniqueKeys: true, version: '1.2' })
      expect(read.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([])
      expect(read.map((document) => document.toJS() as unknown)).toEqual(documents)
      // Aliases are not read by everybody.
      expect(text).not.toMatch(/[&*]a\d/)
      for (const line of text.split('\n').filter((one) => one.trimStart().startsWith('#'))) {
        expect(line.length).toBeLessThanOrEqual(100)
      }
    }
  })

  it.each(['https://harbor.internal', 'harbor.internal/Mirror', 'a b/c', 'harbor.internal/*', 'x\n- y', ''])(
    'are not made for %j, which is no registry',
    async (registry) => {
      await refusal(enforcer, { registries: [registry] })
    },
  )

  it('are not made without a registry, or without a key', async () => {
    await refusal(enforcer, { registries: [] })
    await refusal(enforcer, { keys: [] })
  })
})

describe('for Kyverno', () => {
  it('passes the schema of its ClusterPolicy', async () => {
    const check = await strict('kyverno-clusterpolicy')
    const { files } = await make('kyverno', {
      registries: ['harbor.internal/mirror', '127.0.0.1:5000'],
      keys: [key, other],
    })
    const documents = files.flatMap((file) => file.documents)
    expect(documents).toHaveLength(2)
    for (const document of documents) {
      expect(check(document)).toBe('')
      expect(document).toMatchObject({ apiVersion: 'kyverno.io/v1', kind: 'ClusterPolicy' })
    }
    expect(check({ ...documents[0], spec: { rules: [{ name: 'x' }] } })).not.toBe('')
  })

  it('asks for a signature by one of the keys and for no log, and refuses', async () => {
    const { files } = await make('kyverno', { keys: [key, other] })
    const [signed] = files[0]!.documents
    expect(signed).toMatchObject({
      spec: {
        validationFailureAction: 'Enforce',
        failurePolicy: 'Fail',
        rules: [
          {
            verifyImages: [
              {
                imageReferences: ['harbor.internal/mirror/*'],
                mutateDigest: true,
                verifyDigest: true,
                required: true,
                failureAction: 'Enforce',
                attestors: [
                  {
                    count: 1,
                    entries: [key, other].map((one) => ({
                      keys: { publicKeys: pem(one), rekor: { ignoreTlog: true }, ctlog: { ignoreSCT: true } },
                    })),
                  },
                ],
              },
            ],
          },
        ],
      },
    })
  })

  it('takes images of the registry, by digest, and none that says :latest', async () => {
    const { files } = await make('kyverno', { registries: ['harbor.internal/mirror', '127.0.0.1:5000'] })
    const patterns = patternsOf(files[0]!.documents[1]!)
    const passes = (image: string): boolean => patterns.every((pattern) => kyvernoMatches(pattern, image))
    const digest = `sha256:${'a'.repeat(64)}`
    expect(passes(`harbor.internal/mirror/docker.io/library/nginx:1.29@${digest}`)).toBe(true)
    expect(passes(`harbor.internal/mirror/docker.io/library/nginx@${digest}`)).toBe(true)
    expect(passes(`127.0.0.1:5000/library/nginx:1.29@${digest}`)).toBe(true)
    for (const image of [
      'nginx',
      `nginx@${digest}`,
      `docker.io/library/nginx:1.29@${digest}`,
      `harbor.internal/other/nginx:1.29@${digest}`,
      `harbor.internal.evil.example/mirror/nginx:1.29@${digest}`,
      `evil.example/harbor.internal/mirror/nginx:1.29@${digest}`,
      'harbor.internal/mirror/nginx',
      'harbor.internal/mirror/nginx:1.29',
      'harbor.internal/mirror/nginx:latest',
      `harbor.internal/mirror/nginx:latest@${digest}`,
    ]) {
      expect(passes(image), image).toBe(false)
    }
  })
})

describe('for policy-controller', () => {
  it('passes the schema of its ClusterImagePolicy', async () => {
    const check = await strict('policy-controller-clusterimagepolicy')
    const { files } = await make('policy-controller', { keys: [key, other] })
    const [document, ...others] = files.flatMap((file) => file.documents)
    expect(others).toEqual([])
    expect(check(document)).toBe('')
    expect(check({ ...document, spec: { more: 1 } })).not.toBe('')
    expect(document).toMatchObject({
      apiVersion: 'policy.sigstore.dev/v1beta1',
      kind: 'ClusterImagePolicy',
      spec: {
        mode: 'enforce',
        // Any one of the authorities suffices; without ctlog no log is asked.
        authorities: [
          { name: 'airgap-0', key: { data: pem(key), hashAlgorithm: 'sha256' } },
          { name: 'airgap-1', key: { data: pem(other), hashAlgorithm: 'sha256' } },
        ],
      },
    })
  })

  it('its pattern takes what is below the prefix, and nothing else', async () => {
    const { files } = await make('policy-controller', { registries: ['harbor.internal:5000/mirror'] })
    const { spec } = files[0]!.documents[0] as { spec: { images: { glob: string }[] } }
    const [{ glob } = { glob: '' }] = spec.images
    // pkg/apis/glob of policy-controller.
    expect(glob).toMatch(/^[a-zA-Z0-9-_:/*.]+$/)
    const matches = (image: string): boolean =>
      new RegExp(
        `^${glob.replaceAll('.', '\\.').replaceAll('**', '#').replaceAll('*', '[^/]*').replaceAll('#', '.*')}$`,
      ).test(image)
    expect(matches('harbor.internal:5000/mirror/docker.io/library/nginx:1.29')).toBe(true)
    expect(matches(`harbor.internal:5000/mirror/nginx@sha256:${'a'.repeat(64)}`)).toBe(true)
    expect(matches('harbor.internal:5000/mirrored/nginx:1')).toBe(false)
    expect(matches('harborxinternal:5000/mirror/nginx:1')).toBe(false)
    expect(matches('evil.example/harbor.internal:5000/mirror/nginx:1')).toBe(false)
  })
})

interface ContainersPolicy {
  default: object[]
  transports: Record<string, Record<string, Record<string, unknown>[]>>
}

async function containers(options: Partial<ClusterPolicyOptions> = {}): Promise<ContainersPolicy> {
  const { files } = await make('containers', options)
  expect(files.map(({ name }) => name)).toEqual(['policy.json', 'registries.d/airgap.yaml'])
  return files[0]!.documents[0] as unknown as ContainersPolicy
}

async function remaps(options: Partial<ClusterPolicyOptions>): Promise<Record<string, unknown>> {
  const { transports } = await containers(options)
  const pairs = Object.entries(transports['docker'] ?? {}).flatMap(([scope, [requirement]]) => {
    const identity = requirement?.['signedIdentity'] as Record<string, unknown> | undefined
    if (!identity) return []
    expect(identity).toMatchObject({ type: 'remapIdentity', prefix: scope })
    return [[scope, identity['signedPrefix']] as const]
  })
  return Object.fromEntries(pairs)
}

describe('for containers/image', () => {
  it('rejects by default, and takes what is signed with the key', async () => {
    const policy = await containers({ sources: ['docker.io'] })
    const keyData = Buffer.from(pem(key)).toString('base64')
    expect(policy).toEqual({
      default: [{ type: 'reject' }],
      transports: {
        docker: {
          'harbor.internal/mirror/docker.io': [
            {
              type: 'sigstoreSigned',
              keyData,
              signedIdentity: {
                type: 'remapIdentity',
                prefix: 'harbor.internal/mirror/docker.io',
                signedPrefix: 'docker.io',
              },
            },
          ],
          // For nodes that have the registry as a mirror.
          'docker.io': [{ type: 'sigstoreSigned', keyData }],
        },
      },
    })
  })

  it('has signatures looked for in the registries, and no other', async () => {
    const { files } = await make('containers', { registries: ['harbor.internal/mirror', '127.0.0.1:5000'] })
    expect(files[1]?.documents).toEqual([
      {
        docker: {
          'harbor.internal/mirror': { 'use-sigstore-attachments': true },
          '127.0.0.1:5000': { 'use-sigstore-attachments': true },
        },
      },
    ])
  })

  it('of several keys any one suffices', async () => {
    const { transports } = await containers({ keys: [key, other, key], sources: ['docker.io'] })
    const [requirement] = transports['docker']!['docker.io']!
    expect(requirement).toEqual({
      type: 'sigstoreSigned',
      keyDatas: [key, other].map((one) => Buffer.from(pem(one)).toString('base64')),
    })
  })

  it('lets local images pass where that is asked for, and only then', async () => {
    const accept = { '': [{ type: 'insecureAcceptAnything' }] }
    expect(Object.keys((await containers()).transports)).toEqual(['docker'])
    const { transports, default: fallback } = await containers({ allowLocal: true })
    expect(fallback).toEqual([{ type: 'reject' }])
    for (const transport of ['docker-archive', 'oci-archive', 'containers-storage']) {
      expect(transports[transport]).toEqual(accept)
    }
    expect(Object.keys(transports['docker'] ?? {})).not.toContain('')
  })

  it('with full names: knows the usual registries, or those that are named', async () => {
    const usual = await remaps({})
    expect(usual).toMatchObject({
      'harbor.internal/mirror/docker.io': 'docker.io',
      'harbor.internal/mirror/registry.k8s.io': 'registry.k8s.io',
      'harbor.internal/mirror/quay.io': 'quay.io',
    })
    expect(await remaps({ sources: ['registry.example:5000', 'quay.io/prometheus'] })).toEqual({
      'harbor.internal/mirror/registry.example_5000': 'registry.example:5000',
      'harbor.internal/mirror/quay.io/prometheus': 'quay.io/prometheus',
    })
    expect(await remaps({ images: ['nginx:1.29', 'redis', 'quay.io/prometheus/prometheus:v3'] })).toEqual({
      'harbor.internal/mirror/docker.io': 'docker.io',
      'harbor.internal/mirror/quay.io': 'quay.io',
    })
  })

  it('with --path strip-host: by registry where one place stands for one, else by repository', async () => {
    const path = 'strip-host'
    expect(await remaps({ path, sources: ['docker.io'] })).toEqual({ 'harbor.internal/mirror': 'docker.io' })
    expect(await remaps({ path, images: ['nginx:1.29', 'quay.io/prometheus/prometheus:v3'] })).toEqual({
      'harbor.internal/mirror/library/nginx': 'docker.io/library/nginx',
      'harbor.internal/mirror/prometheus/prometheus': 'quay.io/prometheus/prometheus',
    })
    const error = await refusal('containers', { path, sources: ['docker.io', 'quay.io'] })
    expect(error.problems).toEqual([{ entry: 'harbor.internal/mirror', message: 'docker.io, quay.io' }])
    expect((await refusal('containers', { path })).hints).toContainEqual({ id: 'admission-images' })
  })

  it('with --path flat: by repository alone', async () => {
    const path = 'flat'
    expect(await remaps({ path, images: ['nginx:1.29', 'quay.io/a_b/c--d:1'] })).toEqual({
      'harbor.internal/mirror/docker.io_library_nginx': 'docker.io/library/nginx',
      'harbor.internal/mirror/quay.io_a__b_c---d': 'quay.io/a_b/c--d',
    })
    await refusal('containers', { path })
    await refusal('containers', { path, sources: ['docker.io'] })
  })

  it('with --map: what begins with FROM is where TO is', async () => {
    const maps = ['registry.k8s.io/coredns=k8s', 'registry.k8s.io=k8s', 'quay.io=']
    expect(await remaps({ maps: maps.slice(0, 1), sources: ['registry.k8s.io'] })).toEqual({
      'harbor.internal/mirror/k8s': 'registry.k8s.io/coredns',
      'harbor.internal/mirror/registry.k8s.io': 'registry.k8s.io',
    })
    expect(await remaps({ maps: maps.slice(2) })).toEqual({ 'harbor.internal/mirror': 'quay.io' })
    // One place for two sources: nobody can say which image is meant.
    await refusal('containers', { maps: maps.slice(0, 2) })
  })

  it('refuses sources that are none', async () => {
    for (const source of [
      'docker',
      'docker.io/library/nginx:1.29',
      'docker.io/',
      'https://docker.io',
      'docker.io/Library',
      '"x',
    ])
      expect((await refusal('containers', { sources: [source] })).message).toContain(JSON.stringify(source))
  })
})

/** The patterns that every image has to match, of all rules. */
function patternsOf(policy: Record<string, unknown>): string[] {
  const { spec } = policy as {
    spec: { rules: { validate: { pattern: { spec: Record<string, { image: string }[]> } } }[] }
  }
  return spec.rules.map(({ validate }) => {
    const { spec: pod } = validate.pattern
    const images = new Set(Object.values(pod).flatMap((list) => list.map(({ image }) => image)))
    expect(Object.keys(pod)).toEqual(['=(initContainers)', '=(ephemeralContainers)', 'containers'])
    expect(images.size).toBe(1)
    return [...images][0]!
  })
}

/** Kyverno's patterns for texts: `|`, a leading `!`, and wildcards. */
function kyvernoMatches(pattern: string, text: string): boolean {
  return pattern.split('|').some((part) => {
    const trimmed = part.trim()
    const isNegated = trimmed.startsWith('!')
    const source = trimmed
      .replace(/^!/, '')
      .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')
    return new RegExp(`^${source}$`).test(text) !== isNegated
  })
}
