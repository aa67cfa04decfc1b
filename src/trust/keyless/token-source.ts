import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { readSmallFileAndMode } from '../../files/small-file.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { MAX_TOKEN } from './identity-token.ts'
import type { AskService } from './service.ts'
import type { Hints } from '../../hints.ts'

/** Where an identity token comes from. */
export interface TokenSource {
  /** Follows "the identity token" in messages: `in FILE`. */
  readonly name: string
  /** A token that already exists, to be checked before any work is done; undefined if it is requested later. */
  peek(): Promise<string | undefined>
  /** Gets the token when it is needed. */
  get(ask: AskService): Promise<string>
}

/** The audience of tokens. It is also the default of private instances of Fulcio. */
export const AUDIENCE = 'sigstore'

/**
 * The token in a file, with or without a line end. It is read again when it is needed, because it may have been
 * renewed. A pipe is read once.
 */
export function tokenInFile(path: string): TokenSource {
  let piped: string | undefined
  const read = async (): Promise<string> => {
    if (piped !== undefined) return piped
    const { bytes, mode } = await readSmallFileAndMode(path, MAX_TOKEN, 'identity token')
    const token = bytes.toString('latin1').trim()
    if (mode === undefined) piped = token
    return token
  }
  return { name: `in ${path}`, peek: read, get: read }
}

/** A token from a function of the caller. */
export function tokenFromCaller(give: () => Promise<string>): TokenSource {
  const get = async (): Promise<string> => (await give()).trim()
  return { name: 'from the program', peek: async () => undefined, get }
}

/**
 * The token from the environment: `SIGSTORE_ID_TOKEN`, as in cosign, else the one that GitHub Actions gives to a job
 * with the permission.
 * @throws AirgapError `CREDENTIALS` if there is neither, with a hint how to get one from this CI system.
 */
export function tokenFromEnvironment(env: Readonly<Record<string, string | undefined>>): TokenSource {
  const value = (env['SIGSTORE_ID_TOKEN'] ?? '').trim()
  if (value !== '') return { name: 'in SIGSTORE_ID_TOKEN', peek: async () => value, get: async () => value }
  const url = env['ACTIONS_ID_TOKEN_REQUEST_URL'] ?? ''
  const authority = env['ACTIONS_ID_TOKEN_REQUEST_TOKEN'] ?? ''
  if (url !== '' && authority !== '') {
    const place = githubUrl(url)
    return {
      name: 'of GitHub Actions',
      peek: async () => undefined,
      get: (ask) => fromGitHub(place, authority, ask),
    }
  }
  throw new AirgapError('CREDENTIALS', 'there is no identity token to sign with', { hint: howToGet(env) })
}

function githubUrl(text: string): URL {
  try {
    const url = new URL(text)
    url.searchParams.set('audience', AUDIENCE)
    return url
  } catch (error) {
    throw new AirgapError('CREDENTIALS', 'ACTIONS_ID_TOKEN_REQUEST_URL is not a URL', { cause: error })
  }
}

const GitHubAnswer = v.object({ value: v.string('it has no token (value)') })

/** Requests a token in a job (GitHub Actions, "About security hardening with OpenID Connect"). */
async function fromGitHub(url: URL, authority: string, ask: AskService): Promise<string> {
  const { body } = await ask({
    service: 'GitHub Actions',
    operation: 'get an identity token',
    method: 'GET',
    url,
    headers: { accept: 'application/json' },
    authorization: `Bearer ${authority}`,
    answers: 'application/json',
    limit: 2 * MAX_TOKEN,
    hint: 'The job needs `permissions: id-token: write`.',
  })
  const what = 'the answer of GitHub Actions'
  return checkShape(GitHubAnswer, parseStrictJson(body, what), what).value
}

function howToGet(env: Readonly<Record<string, string | undefined>>): Hints {
  if (env['GITHUB_ACTIONS'] === 'true') {
    return 'GitHub Actions gives tokens to jobs that have `permissions: id-token: write`.'
  }
  if (env['GITLAB_CI'] === 'true') {
    return `GitLab gives one to a job that has \`id_tokens: SIGSTORE_ID_TOKEN: aud: ${AUDIENCE}\`.`
  }
  return [
    'It comes from the CI system, GitHub Actions (permissions: id-token: write) or GitLab (id_tokens: SIGSTORE_ID_TOKEN), or from a file. No browser is opened. Outside CI, sign with a key.',
    { id: 'identity-token' },
  ]
}
