import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { AirgapError, fileError } from '../../errors.ts'
import {
  basicOrIdentity,
  helperOf,
  normalHost,
  readAuthFile,
  secretOf,
  serverOf,
  type AuthFile,
  type Secret,
} from './auth-file.ts'
import { askCredentialHelper, type HelperAnswer } from './credential-helper.ts'

const MAX_PASSWORD_FILE = 64 * 1024

export type Credentials = Secret & {
  /** Where they were found, for messages; undefined where they were given by the caller. */
  source: string | undefined
  /** Differs between different credentials, and reveals nothing about them. */
  id: string
}

/** Finds credentials for a registry. Each registry gets its own and never another's. */
export interface CredentialSource {
  /** Whether all repositories of a registry have the same credentials. */
  readonly isPerRegistry?: boolean
  find(registry: string, repository: string): Promise<Credentials | undefined>
  /** The places that are searched for credentials, with what is known about each, for messages. */
  places?(): string[]
  /** The errors of credential helpers for a registry. */
  troubles?(registry: string): AirgapError[]
}

/** The user name of credentials and where they were found, for messages. */
export function accountOf(credentials: Credentials): { source: string | undefined; username?: string } {
  const { source } = credentials
  return credentials.kind === 'bearer' ? { source } : { source, username: credentials.username }
}

/** One user name and password for one registry, and for no other. */
export function givenCredentials(registry: string, username: string, password: string): CredentialSource {
  const given = identified(basicOrIdentity(username, password), undefined)
  return { find: async (host) => (normalHost(host) === normalHost(registry) ? given : undefined) }
}

export interface CredentialOptions {
  authFile?: string | undefined
  env: NodeJS.ProcessEnv
  /** Ends running credential helpers. */
  signal?: AbortSignal | undefined
}

/**
 * Finds credentials for a registry, by the host that is contacted. The first source that has some is used: the given
 * file, `AIRGAP_REGISTRY` with its companions (for that one host), `$REGISTRY_AUTH_FILE`, Docker's configuration
 * (`$DOCKER_CONFIG/config.json` or `~/.docker/config.json`), Podman's (`${XDG_RUNTIME_DIR}/containers/auth.json`,
 * `~/.config/containers/auth.json`).
 *
 * A credential helper that is missing or fails counts as having no credentials: public images need none. If the
 * registry then refuses the request, the message tells of the helper ({@link troubles}).
 */
export class CredentialStore implements CredentialSource {
  readonly #options: CredentialOptions
  readonly #found = new Map<string, Promise<Credentials | undefined>>()
  readonly #files = new Map<string, Promise<AuthFile | undefined>>()
  readonly #helpers = new Map<string, Promise<HelperAnswer | undefined>>()
  readonly #absent = new Set<string>()
  readonly #troubles = new Map<string, AirgapError>()

  constructor(options: CredentialOptions) {
    this.#options = options
  }

  /**
   * @returns undefined when no source has any.
   * @throws AirgapError `CREDENTIALS` or `FILE` when a source is damaged; the signal's reason.
   */
  find(registry: string, repository: string): Promise<Credentials | undefined> {
    const key = `${normalHost(registry)}/${repository}`
    let found = this.#found.get(key)
    if (!found) {
      found = this.#search(registry, repository)
      this.#found.set(key, found)
      // A failure is not remembered: the file may be fixed.
      found.catch(() => this.#found.delete(key))
    }
    return found
  }

  /** In the order in which they are searched. */
  places(): string[] {
    const { authFile, env } = this.#options
    const host = env['AIRGAP_REGISTRY']
    return [
      ...(authFile === undefined ? [] : [authFile]),
      host ? `AIRGAP_REGISTRY (set for ${host})` : 'AIRGAP_REGISTRY (not set)',
      ...credentialFiles(env).map(([path]) => `${path}${this.#absent.has(path) ? ' (no such file)' : ''}`),
    ]
  }

  troubles(registry: string): AirgapError[] {
    const server = serverOf(registry)
    return [...this.#troubles].filter(([key]) => key.endsWith(` ${server}`)).map(([, error]) => error)
  }

  async #search(registry: string, repository: string): Promise<Credentials | undefined> {
    const { authFile, env } = this.#options
    if (authFile !== undefined) {
      const given = await this.#fromFile(authFile, true, registry, repository)
      if (given) return given
    }
    const own = await fromEnvironment(registry, env)
    if (own) return own
    for (const [path, required] of credentialFiles(env)) {
      const found = await this.#fromFile(path, required, registry, repository)
      if (found) return found
    }
    return undefined
  }

  async #fromFile(
    path: string,
    required: boolean,
    registry: string,
    repository: string,
  ): Promise<Credentials | undefined> {
    let reading = this.#files.get(path)
    if (!reading) {
      reading = readAuthFile(path, required)
      this.#files.set(path, reading)
    }
    const file = await reading
    if (file === undefined) {
      this.#absent.add(path)
      return undefined
    }
    const helper = helperOf(file, registry, repository)
    if (helper !== undefined) {
      const answer = await this.#ask(helper, serverOf(registry))
      if (answer) {
        return identified(basicOrIdentity(answer.username, answer.secret), `the credential helper ${helper}`)
      }
    }
    const secret = secretOf(file, registry, repository)
    return secret && identified(secret, path)
  }

  /** One run of a helper serves all repositories of a registry. */
  #ask(helper: string, server: string): Promise<HelperAnswer | undefined> {
    const key = `${helper} ${server}`
    let answer = this.#helpers.get(key)
    if (!answer) {
      const { env, signal } = this.#options
      answer = askCredentialHelper(helper, server, env, undefined, signal).catch((error: unknown) => {
        if (signal?.aborted || !(error instanceof AirgapError)) throw error
        this.#troubles.set(key, error)
        return undefined
      })
      this.#helpers.set(key, answer)
    }
    return answer
  }
}

/** Docker's configuration file, or undefined where neither `$DOCKER_CONFIG` nor a home folder is known. */
export function dockerConfigFile(env: NodeJS.ProcessEnv): string | undefined {
  if (env['DOCKER_CONFIG']) return join(env['DOCKER_CONFIG'], 'config.json')
  const home = homeOf(env)
  return home ? join(home, '.docker', 'config.json') : undefined
}

function homeOf(env: NodeJS.ProcessEnv): string | undefined {
  return env['HOME'] ?? env['USERPROFILE'] ?? (env === process.env ? homedir() : undefined)
}

function credentialFiles(env: NodeJS.ProcessEnv): [path: string, required: boolean][] {
  const home = homeOf(env)
  const docker = dockerConfigFile(env)
  const files: [string, boolean][] = []
  if (env['REGISTRY_AUTH_FILE']) files.push([env['REGISTRY_AUTH_FILE'], true])
  if (docker !== undefined) files.push([docker, false])
  if (env['XDG_RUNTIME_DIR']) files.push([join(env['XDG_RUNTIME_DIR'], 'containers', 'auth.json'), false])
  if (home) files.push([join(home, '.config', 'containers', 'auth.json'), false])
  return files
}

async function fromEnvironment(registry: string, env: NodeJS.ProcessEnv): Promise<Credentials | undefined> {
  const host = env['AIRGAP_REGISTRY']
  const username = env['AIRGAP_REGISTRY_USERNAME']
  const passwordFile = env['AIRGAP_REGISTRY_PASSWORD_FILE']
  if (!host && !username && !passwordFile) return undefined
  if (!host || !username || !passwordFile) {
    throw new AirgapError(
      'CREDENTIALS',
      'AIRGAP_REGISTRY, AIRGAP_REGISTRY_USERNAME and AIRGAP_REGISTRY_PASSWORD_FILE must be set together, and one is missing',
      { hint: 'AIRGAP_REGISTRY names the only host that gets the user name and password.' },
    )
  }
  if (normalHost(host) !== normalHost(registry)) return undefined
  let password: string
  try {
    if ((await stat(passwordFile)).size > MAX_PASSWORD_FILE) {
      throw new AirgapError(
        'CREDENTIALS',
        `the password file ${passwordFile} is larger than ${MAX_PASSWORD_FILE} bytes`,
      )
    }
    const bytes = await readFile(passwordFile)
    if (!isUtf8(bytes)) {
      throw new AirgapError('CREDENTIALS', `the password file ${passwordFile} is not UTF-8`)
    }
    password = bytes.toString('utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw fileError(error, 'read the password file', passwordFile)
  }
  if (password === '') throw new AirgapError('CREDENTIALS', `the password file ${passwordFile} is empty`)
  return identified(basicOrIdentity(username, password), 'AIRGAP_REGISTRY_USERNAME')
}

function identified(secret: Secret, source: string | undefined): Credentials {
  return { ...secret, source, id: createHash('sha256').update(JSON.stringify(secret)).digest('hex') }
}
