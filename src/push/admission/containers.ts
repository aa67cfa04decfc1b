import { pemOf, type PolicyFile, type PolicyInputs } from './policy.ts'
import { commentedYaml } from './yaml.ts'
import { AirgapError, type Problem } from '../../errors.ts'
import { formatTarget, isRegistryHost, isRepository, nameOf } from '../../oci/reference.ts'
import { hostPart, mapName, type NamingOptions } from '../names.ts'

/** A prefix of names in the target, and the prefix of the source names in signatures that it corresponds to. */
interface Scope {
  scope: string
  signed: string
}

/** The registries that most images come from: the default sources with full names. */
const USUAL_SOURCES = [
  'docker.io',
  'gcr.io',
  'ghcr.io',
  'mcr.microsoft.com',
  'public.ecr.aws',
  'quay.io',
  'registry.k8s.io',
]

/**
 * Maps prefixes of names in the target to prefixes of source names, for `remapIdentity` of containers/image. Follows the
 * naming rules of the push.
 *
 * @throws AirgapError `USAGE` if several sources have the same prefix in the target, or a source has none.
 */
function scopesOf(inputs: PolicyInputs): Scope[] {
  const { targets, path, maps } = inputs
  const sources = new Set([...inputs.sources.map((text) => checkSource(text)), ...namesOf(inputs)])
  if (path !== 'flat') for (const { from } of maps) sources.add(checkSource(from))
  if (sources.size === 0) {
    if (path !== 'full') throw noSources(path)
    for (const source of USUAL_SOURCES) sources.add(source)
  }
  const scopes: Scope[] = []
  for (const target of targets) {
    for (const signed of [...sources].toSorted()) {
      const place = placeOf(signed, { target, path, maps })
      scopes.push({ scope: [formatTarget(target), place].filter(Boolean).join('/'), signed })
    }
  }
  refuseConflicts(scopes)
  return scopes
}

/** The sources of images. With full names the registry is enough; the other naming rules depend on the repository. */
function namesOf({ images, path }: PolicyInputs): string[] {
  return images.map((reference) => (path === 'full' ? reference.registry : nameOf(reference)))
}

/** @throws AirgapError `USAGE` */
function checkSource(text: string): string {
  const slash = text.indexOf('/')
  const registry = slash < 0 ? text : text.slice(0, slash)
  const isQualified = /[.:]/.test(registry) || registry === 'localhost'
  if (isQualified && isRegistryHost(registry) && (slash < 0 || isRepository(text.slice(slash + 1))))
    return text
  throw new AirgapError('USAGE', `${JSON.stringify(text)} is not a source registry, with or without a path`, {
    hint: 'Write it as in lists and receipts, without tag and digest: docker.io, quay.io/prometheus.',
  })
}

function placeOf(source: string, naming: NamingOptions): string {
  const slash = source.indexOf('/')
  if (slash >= 0) {
    return mapName({ registry: source.slice(0, slash), repository: source.slice(slash + 1) }, naming)
  }
  if (naming.path === 'flat') throw noSources('flat')
  const mapped = naming.maps.find(({ from }) => from === source)
  if (mapped) return mapped.to
  return naming.path === 'full' ? hostPart(source) : ''
}

/** Refuses prefixes in the target that several sources share: it would not be clear which image a name means. */
function refuseConflicts(scopes: readonly Scope[]): void {
  const problems: Problem[] = []
  for (const [scope, alike] of Map.groupBy(scopes, (one) => one.scope)) {
    if (alike.length < 2) continue
    problems.push({ entry: scope, message: alike.map(({ signed }) => signed).join(', ') })
  }
  if (problems.length === 0) return
  throw new AirgapError('USAGE', 'several sources have the same prefix in the target', {
    problems,
    hint: [
      'Name the repositories instead of the registries (docker.io/library, quay.io/prometheus).',
      { id: 'admission-images' },
    ],
  })
}

function noSources(path: string): AirgapError {
  return new AirgapError(
    'USAGE',
    `with ${path} names, a name in the target does not say which registry its image comes from`,
    {
      hint: [
        path === 'flat'
          ? 'Name the images.'
          : 'Name the images, or the one registry that all of them come from.',
        { id: 'admission-images' },
      ],
    },
  )
}

type Requirement = Record<string, unknown>

const ACCEPT: Requirement[] = [{ type: 'insecureAcceptAnything' }]
/** Transports for images outside a registry: in files and folders, or already on the node. */
const LOCAL = ['containers-storage', 'dir', 'docker-archive', 'oci', 'oci-archive']

/**
 * The files of containers/image, which Podman, CRI-O, Buildah and Skopeo read on every node:
 * containers-policy.json(5), and containers-registries.d(5), without which they do not look for signatures.
 *
 * @throws AirgapError `USAGE` like {@link scopesOf}.
 */
export function containersPolicy(inputs: PolicyInputs): PolicyFile[] {
  const { targets, allowLocal } = inputs
  const scopes = scopesOf(inputs)
  const places = [...new Set(targets.map(formatTarget))]
  const policy = policyOf(scopes, trusted(inputs), allowLocal)
  const attachments = {
    docker: Object.fromEntries(places.map((place) => [place, { 'use-sigstore-attachments': true }])),
  }
  return [
    {
      name: 'policy.json',
      about: 'Podman, CRI-O, Buildah, Skopeo: /etc/containers/policy.json on every node',
      text: `${JSON.stringify(policy, null, 2)}\n`,
      documents: [policy],
    },
    {
      name: 'registries.d/airgap.yaml',
      about: 'and /etc/containers/registries.d/airgap.yaml, without which signatures are not found',
      text: commentedYaml(attachments, REGISTRIES_HEAD, []),
      documents: [attachments],
    },
  ]
}

const REGISTRIES_HEAD = [
  'Signatures are stored in the registry, beside the images. Without this file they are not looked for, and everything is refused.',
]

/** Several keys in one requirement need containers/image 5.32.2; older versions refuse the whole policy. */
function trusted({ keys }: PolicyInputs): Requirement {
  const all = keys.map((key) => Buffer.from(pemOf(key)).toString('base64'))
  return { type: 'sigstoreSigned', ...(all.length === 1 ? { keyData: all[0] } : { keyDatas: all }) }
}

function policyOf(
  scopes: readonly Scope[],
  requirement: Requirement,
  allowLocal: boolean,
): Record<string, unknown> {
  const docker: Record<string, Requirement[]> = {}
  for (const { scope, signed } of scopes) {
    const signedIdentity = { type: 'remapIdentity', prefix: scope, signedPrefix: signed }
    docker[scope] = [{ ...requirement, signedIdentity }]
  }
  // Also require the key under the original names, for nodes that use the private registry as a mirror.
  for (const { signed } of scopes) docker[signed] ??= [requirement]
  const local = Object.fromEntries(LOCAL.map((transport) => [transport, { '': ACCEPT }]))
  return {
    default: [{ type: 'reject' }],
    transports: { docker, ...(allowLocal ? local : {}) },
  }
}
