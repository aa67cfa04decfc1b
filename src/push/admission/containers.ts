import { pemOf, prefixOf, type PolicyFile, type PolicyInputs } from './policy.ts'
import { scopesOf, type Scope } from './scopes.ts'
import { commentedYaml } from './yaml.ts'

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
  const places = [...new Set(targets.map(prefixOf))]
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
