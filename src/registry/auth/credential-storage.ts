import { AirgapError } from '../../errors.ts'
import {
  type AuthEntry,
  authKeys,
  readForUpdate,
  removeEntries,
  setEntries,
  updateAuthFile,
} from './auth-file-update.ts'
import { type AuthFile, helperOf, isKeyOf, serverOf } from './auth-file.ts'
import {
  askCredentialHelper,
  eraseFromHelper,
  findCredentialHelper,
  storeInHelper,
} from './credential-helper.ts'
import { CredentialStore, dockerConfigFile, givenCredentials } from './credentials.ts'
import type { LoginTarget } from './login-target.ts'

export interface StorageOptions {
  /** The file to use in place of the usual one. Its folder has to exist. */
  authFile?: string | undefined
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
  /** How long a helper may take, in milliseconds. */
  helperTimeoutMs?: number
}

/** Where the credentials of one registry are kept. */
export interface Storage {
  /** The credentials file. */
  file: string
  /** The credential helper that the file names for this registry; it has the secret then. */
  helper?: string
}

/** The result of removing credentials. */
export interface Removal extends Storage {
  /** Whether there was something to remove. */
  removed: boolean
}

/**
 * Finds out where credentials for a registry go, as `docker login` and `podman login` do: the given file, else
 * `$REGISTRY_AUTH_FILE`, else Docker's `config.json`; and there the helper named by `credHelpers` or `credsStore`.
 * Problems with storing are found here, before the user is asked for a password.
 *
 * @throws AirgapError `CREDENTIALS` when the file is damaged or there is no such helper; `FILE` or `OUTPUT_UNSAFE`
 *   when the file cannot be changed.
 */
export async function findStorage(target: LoginTarget, options: StorageOptions): Promise<Storage> {
  const { path, createFolder } = placeOf(options)
  const file = await readForUpdate(path, createFolder)
  const helper = file && helperOf(file, target.registry, target.path)
  if (helper === undefined) return { file: path }
  if (target.path !== '') {
    throw new AirgapError(
      'CREDENTIALS',
      `${path} keeps the credentials for ${target.registry} in the credential helper ${helper}, which cannot keep separate ones for ${target.name}`,
      { hint: [`Log in to all of ${target.registry}, or use another file.`, { id: 'auth-file' }] },
    )
  }
  await findCredentialHelper(helper, options.env, `store the credentials for ${target.name}`)
  return { file: path, helper }
}

/**
 * Stores credentials where {@link findStorage} says. Every spelling of the registry in the file gets the new
 * credentials (`docker.io` as well as `https://index.docker.io/v1/`), so that no program finds the old ones; the rest
 * of the file stays the same. Afterwards they are looked up as every command would.
 *
 * @returns the source of other credentials that commands find before the stored ones.
 * @throws AirgapError as {@link findStorage}; `CREDENTIALS` when a helper fails, or does not return what it was given.
 */
export async function storeCredentials(
  target: LoginTarget,
  { username, password }: { username: string; password: string },
  storage: Storage,
  options: StorageOptions,
): Promise<{ shadowedBy: string | undefined }> {
  const { file, helper } = storage
  const { env, helperTimeoutMs } = options
  if (helper !== undefined) {
    const server = serverOf(target.registry)
    await storeInHelper(helper, server, { username, secret: password }, env, helperTimeoutMs)
  }
  // Like Docker, leave an empty entry where a helper has the secret.
  const entry = helper === undefined ? entryOf(username, password) : {}
  await updateAuthFile(file, (text) => setEntries(text, [target.key, ...spellings(text, target)], entry), {
    createFolder: placeOf(options).createFolder,
    signal: options.signal,
  })
  const given = await givenCredentials(target.registry, username, password).find(target.registry, '')
  const store = new CredentialStore(options)
  const found = await store.find(target.registry, target.path)
  if (found === undefined) {
    const [trouble] = store.troubles(target.registry)
    if (trouble) throw trouble
    throw new AirgapError(
      'CREDENTIALS',
      `${helper === undefined ? file : `the credential helper ${helper}`} does not have the credentials for ${target.name} that were just stored`,
    )
  }
  return { shadowedBy: found.id === given?.id ? undefined : found.source }
}

/**
 * Finds the credentials that every command uses for a registry.
 * @returns where they come from; undefined where there are none.
 * @throws AirgapError `CREDENTIALS`, `FILE`
 */
export async function findCredentials(
  { registry, path }: LoginTarget,
  options: StorageOptions,
): Promise<{ source: string | undefined } | undefined> {
  const found = await new CredentialStore(options).find(registry, path)
  return found && { source: found.source }
}

/**
 * Removes the credentials for a registry from where {@link storeCredentials} puts them: from the helper, and every
 * spelling of the registry from the file.
 * @throws AirgapError as {@link storeCredentials}
 */
export async function removeCredentials(target: LoginTarget, options: StorageOptions): Promise<Removal> {
  const { path, createFolder } = placeOf(options)
  const file = await readForUpdate(path, createFolder)
  if (file === undefined) return { file: path, removed: false }
  const helper = target.path === '' ? helperOf(file, target.registry, '') : undefined
  const wasInHelper = helper !== undefined && (await removeFromHelper(helper, target, options))
  const wasInFile = await removeFromFile(file, target, options)
  return { file: path, ...(helper === undefined ? {} : { helper }), removed: wasInHelper || wasInFile }
}

async function removeFromHelper(
  helper: string,
  target: LoginTarget,
  { env, helperTimeoutMs }: StorageOptions,
): Promise<boolean> {
  const server = serverOf(target.registry)
  const known = await askCredentialHelper(helper, server, env, helperTimeoutMs)
  if (known === undefined) return false
  await eraseFromHelper(helper, server, env, helperTimeoutMs)
  return true
}

async function removeFromFile(
  file: AuthFile,
  target: LoginTarget,
  { signal }: StorageOptions,
): Promise<boolean> {
  if (spellings(file.text, target).length === 0) return false
  await updateAuthFile(file.path, (text) => removeEntries(text, spellings(text, target)), {
    createFolder: false,
    signal,
  })
  return true
}

function placeOf({ authFile, env }: StorageOptions): { path: string; createFolder: boolean } {
  // If the folder of a file that the user named is missing, its name was mistyped.
  if (authFile !== undefined) return { path: authFile, createFolder: false }
  const path = env['REGISTRY_AUTH_FILE'] || dockerConfigFile(env)
  if (path !== undefined) return { path, createFolder: true }
  throw new AirgapError('CREDENTIALS', 'there is no home folder to keep credentials in', {
    hint: { id: 'auth-file' },
  })
}

function spellings(text: string, { registry, path }: LoginTarget): string[] {
  return authKeys(text).filter((key) => isKeyOf(key, registry, path))
}

/** The user name `<token>` stands for an identity token, which has a field of its own. */
function entryOf(username: string, password: string): AuthEntry {
  const isToken = username === '<token>'
  const auth = Buffer.from(`${username}:${isToken ? '' : password}`).toString('base64')
  return isToken ? { auth, identitytoken: password } : { auth }
}
