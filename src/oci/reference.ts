import { AirgapError } from '../errors.ts'
import { shellWord } from '../text.ts'
import { digestFault, isDigest, type Digest } from './digest.ts'

/**
 * A fully qualified image reference. `registry` is the name that people write (`docker.io`), not the host that is
 * contacted.
 */
export interface Reference {
  registry: string
  repository: string
  tag?: string
  digest?: Digest
}

const DEFAULT_REGISTRY = 'docker.io'
/** The longest repository path, in characters. */
export const MAX_REPOSITORY = 255

// The grammar of github.com/distribution/reference.
const DOMAIN_COMPONENT = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])'
const HOST = `(?:${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*|\\[[a-fA-F0-9:]+\\])`
const REGISTRY = new RegExp(`^${HOST}(?::[0-9]+)?$`)
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/

/**
 * The transports by which skopeo, podman and regctl say where an image is (containers-transports(5)). `docker:` alone
 * is not one, and in `oci:5000/app` `oci` is a host.
 */
const TRANSPORT =
  /^(docker:\/\/|(?:docker-daemon|docker-archive|oci-archive|oci|ocidir|containers-storage|dir|ostree|atomic|sif|tarball):(?!\d+\/))/

/** Whether `text` is a host name, an IPv4 or a bracketed IPv6 address, with an optional port. */
export function isRegistryHost(text: string): boolean {
  if (!REGISTRY.test(text)) return false
  const port = /:([0-9]+)$/.exec(text.replace(/^\[.*\]/, ''))?.[1]
  return port === undefined || Number(port) <= 65535
}

/** Whether `text` is a repository path of at most 255 characters. */
export function isRepository(text: string): boolean {
  return text.length <= MAX_REPOSITORY && text.split('/').every((part) => PATH_COMPONENT.test(part))
}

export function isTag(text: string): boolean {
  return TAG.test(text)
}

/**
 * Parses an image reference and completes it like Docker: `nginx` becomes `docker.io/library/nginx:latest`.
 * A reference with a digest gets no default tag.
 *
 * @throws AirgapError `INVALID_REFERENCE`, which says which part is wrong and why.
 */
export function parseReference(text: string): Reference {
  const fail = (reason: string, hint?: string): never => {
    throw new AirgapError(
      'INVALID_REFERENCE',
      `${JSON.stringify(text)} is not an image reference: ${reason}`,
      {
        hint,
      },
    )
  }
  if (text === '') fail('it is empty')
  if (/\s/.test(text)) fail('it holds white space')
  const transport = TRANSPORT.exec(text)?.[1]
  if (transport !== undefined) {
    const rest = text.slice(transport.length)
    if (transport === 'docker://')
      fail('docker:// is a transport of skopeo and podman', `Leave it out: ${rest}`)
    fail(
      `${transport} is a transport of skopeo and podman for images outside a registry, but airgap reads images from registries only`,
      `Copy it to a registry first, and use its name there: skopeo copy ${shellWord(text)} docker://REGISTRY/NAME:TAG`,
    )
  }
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]
  if (scheme !== undefined) {
    fail(`it begins with ${scheme}://`, 'Leave the scheme out: registry.example/app:1.0.')
  }
  if (/^sha(?:256|512):[0-9a-f]{64,128}$/.test(text)) {
    fail('it is a digest without a repository', 'Write NAME@sha256:DIGEST.')
  }
  if (/^[0-9a-f]{64}$/.test(text)) {
    fail('64 hexadecimal digits are an image ID, which no registry can resolve', 'Write NAME@sha256:DIGEST.')
  }

  let rest = text
  let digest: Digest | undefined
  const at = rest.indexOf('@')
  if (at >= 0) {
    const given = rest.slice(at + 1)
    rest = rest.slice(0, at)
    if (!isDigest(given)) fail(`its digest is not usable: ${digestFault(given)}`)
    digest = given as Digest
  }
  let tag: string | undefined
  const colon = rest.lastIndexOf(':')
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1)
    rest = rest.slice(0, colon)
    if (!TAG.test(tag)) {
      fail(
        tag === ''
          ? 'the tag after ":" is empty'
          : `the tag ${JSON.stringify(tag)} is not valid: a tag has at most 128 letters, digits, "_", "." and "-", and begins with a letter, a digit or "_"`,
      )
    }
  }

  const [registry, repository] = splitRegistry(rest)
  if (!isRegistryHost(registry)) fail(`${JSON.stringify(registry)} is not a registry host`)
  if (repository === '') fail('it names no repository')
  for (const part of repository.split('/')) {
    if (PATH_COMPONENT.test(part)) continue
    if (part === '') fail('a path part is empty')
    if (PATH_COMPONENT.test(part.toLowerCase()))
      fail(`repository names are lower case, and ${JSON.stringify(part)} is not`)
    fail(
      `the path part ${JSON.stringify(part)} is not valid: it has to be lower-case letters and digits, joined by ".", "_", "__" or dashes`,
    )
  }
  if (repository.length > MAX_REPOSITORY) {
    fail(`the repository has ${repository.length} characters, but at most ${MAX_REPOSITORY} are allowed`)
  }
  if (tag === undefined && digest === undefined) tag = 'latest'
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  }
}

/** Docker's rule: the first part is a host only if it contains `.`, `:` or an upper-case letter, or is `localhost`. */
function splitRegistry(name: string): [string, string] {
  const slash = name.indexOf('/')
  const first = name.slice(0, Math.max(slash, 0))
  const isHost = slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase())
  let registry = isHost ? first : DEFAULT_REGISTRY
  let repository = isHost ? name.slice(slash + 1) : name
  if (registry === 'index.docker.io') registry = DEFAULT_REGISTRY
  if (registry === DEFAULT_REGISTRY && !repository.includes('/') && repository !== '') {
    repository = `library/${repository}`
  }
  return [registry, repository]
}

/** `registry/repository`, without tag or digest. */
export function nameOf(reference: Reference): string {
  return `${reference.registry}/${reference.repository}`
}

/** The fully qualified text, which {@link parseReference} parses back to the same value. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`
  return `${nameOf(reference)}${tag}${digest}`
}

/** Where images are pushed to: `REGISTRY[/PREFIX]`. */
export function formatTarget({ registry, prefix }: { registry: string; prefix: string }): string {
  return [registry, prefix].filter(Boolean).join('/')
}
