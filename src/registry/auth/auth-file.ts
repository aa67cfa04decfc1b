import * as v from 'valibot'
import { AirgapError, systemCode } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { isDockerHub } from '../net/hosts.ts'

const MAX_AUTH_FILE = 1024 * 1024

/** The name under which Docker has always kept the credentials of docker.io. */
export const DOCKER_HUB_KEY = 'https://index.docker.io/v1/'

export type Secret =
  | { kind: 'basic'; username: string; password: string }
  /** A refresh token, which the token service exchanges for access tokens. */
  | { kind: 'identity'; username: string; token: string }
  /** An access token ready to be used. */
  | { kind: 'bearer'; token: string }

const text = v.optional(v.nullable(v.string()))
// valibot's object schema accepts a list too.
const noList = v.custom<object>((value) => !Array.isArray(value))
const AuthEntrySchema = v.object({
  auth: text,
  username: text,
  password: text,
  identitytoken: text,
  registrytoken: text,
})
const AuthFileSchema = v.pipe(
  noList,
  v.object({
    auths: v.optional(
      v.nullable(v.pipe(noList, v.record(v.string(), v.nullable(v.pipe(noList, AuthEntrySchema))))),
    ),
    credHelpers: v.optional(v.nullable(v.pipe(noList, v.record(v.string(), v.nullable(v.string()))))),
    credsStore: text,
  }),
)

export type AuthFile = v.InferOutput<typeof AuthFileSchema> & {
  path: string
  /** The text as it was read. */
  text: string
}

/**
 * Reads a credentials file of Docker (`config.json`) or Podman (`auth.json`).
 * @returns undefined when it does not exist, unless it is `required`.
 * @throws AirgapError `FILE` when it cannot be read, `CREDENTIALS` when it does not have that form. No content is
 *   quoted.
 */
export async function readAuthFile(path: string, required: boolean): Promise<AuthFile | undefined> {
  let bytes: Buffer
  try {
    bytes = await readSmallFile(path, MAX_AUTH_FILE, 'credentials')
  } catch (error) {
    const code = systemCode(error instanceof AirgapError ? error.cause : error)
    if (!required && (code === 'ENOENT' || code === 'ENOTDIR')) return undefined
    if (code === undefined) throw damaged(path, `it is larger than ${MAX_AUTH_FILE} bytes`)
    throw error
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw damaged(path, 'it is not UTF-8')
  }
  if (text.trim() === '') return { path, text }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message quotes the part that it could not read, which may be a password.
    throw damaged(path, 'it is not JSON')
  }
  const result = v.safeParse(AuthFileSchema, value, { abortEarly: true })
  if (!result.success) {
    const at = v.getDotPath(result.issues[0])
    throw damaged(path, `it is not a credentials file${at === null ? '' : ` (at ${JSON.stringify(at)})`}`)
  }
  return { ...result.output, path, text }
}

/** Host and path of a key such as `host`, `host/ns` (Podman) or `https://index.docker.io/v1/` (Docker). */
function splitKey(key: string): { host: string; path: string } {
  const bare = key.replace(/^https?:\/\//i, '')
  const slash = bare.indexOf('/')
  const host = normalHost(slash < 0 ? bare : bare.slice(0, slash))
  const path = slash < 0 ? '' : bare.slice(slash + 1).replace(/\/+$/, '')
  // A key with a scheme is one of Docker's old keys, with the path of the API.
  return { host, path: bare !== key || /^v[12]$/.test(path) ? '' : path }
}

/** One spelling for a registry's host: lower case, no `:443`, one name for Docker Hub. */
export function normalHost(host: string): string {
  const plain = host.toLowerCase().replace(/:443$/, '')
  return isDockerHub(plain) ? 'docker.io' : plain
}

/** The name by which credential helpers know a registry. */
export function serverOf(registry: string): string {
  const host = normalHost(registry)
  return host === 'docker.io' ? DOCKER_HUB_KEY : host
}

/** The credential helper that a file names for a repository, or for all (`repository` empty) of a registry. */
export function helperOf(file: AuthFile, registry: string, repository: string): string | undefined {
  // An empty name for one registry excludes it from the store for all.
  return (entryFor(file.credHelpers, registry, repository)?.value ?? file.credsStore) || undefined
}

/** Whether a key is a spelling of this registry and, where Podman's keys have one, path. */
export function isKeyOf(key: string, registry: string, path: string): boolean {
  const found = splitKey(key)
  return found.host === normalHost(registry) && found.path === path
}

/**
 * The entry for a repository: the one whose key names its host and the longest path that is a prefix of the repository.
 * A value of null counts as no entry.
 */
export function entryFor<T>(
  entries: Record<string, T | null> | null | undefined,
  registry: string,
  repository: string,
): { key: string; value: T } | undefined {
  let best: { key: string; value: T; length: number } | undefined
  for (const [key, value] of Object.entries(entries ?? {})) {
    const { host, path } = splitKey(key)
    if (host !== normalHost(registry) || value === null) continue
    if (path !== '' && path !== repository && !repository.startsWith(`${path}/`)) continue
    if (best === undefined || path.length > best.length) best = { key, value, length: path.length }
  }
  return best
}

/**
 * The credentials that an entry of `auths` holds.
 * @returns undefined for an empty entry, which Docker leaves where a helper has the secret.
 * @throws AirgapError `CREDENTIALS` when `auth` is not base64 of `user:password`.
 */
export function secretOf(file: AuthFile, registry: string, repository: string): Secret | undefined {
  const entry = entryFor(file.auths, registry, repository)
  if (entry === undefined) return undefined
  const { auth, username, password, identitytoken, registrytoken } = entry.value
  if (registrytoken) return { kind: 'bearer', token: registrytoken }
  const pair = auth ? decodeAuth(auth) : username && password ? { username, password } : undefined
  if (identitytoken) return { kind: 'identity', username: pair?.username ?? '<token>', token: identitytoken }
  if (auth && pair === undefined) {
    throw damaged(
      file.path,
      `the entry for ${JSON.stringify(entry.key)} does not hold base64 of "user:password"`,
    )
  }
  return pair && basicOrIdentity(pair.username, pair.password)
}

/** The user name `<token>` marks an identity token, in helpers' answers and in files alike. */
export function basicOrIdentity(username: string, secret: string): Secret {
  return username === '<token>'
    ? { kind: 'identity', username, token: secret }
    : { kind: 'basic', username, password: secret }
}

function decodeAuth(auth: string): { username: string; password: string } | undefined {
  const decoded = Buffer.from(auth, 'base64').toString('utf8')
  const colon = decoded.indexOf(':')
  if (colon <= 0) return undefined
  return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, '') }
}

/** The error for a credentials file that cannot be used. */
export function damaged(path: string, reason: string): AirgapError {
  return new AirgapError('CREDENTIALS', `cannot use the credentials file ${path}: ${reason}`, {
    hint: ['Fix it, or move it away and log in again.', { id: 'auth-file' }],
  })
}
