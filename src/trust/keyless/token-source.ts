import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { readSmallFileAndMode } from '../../files/small-file.ts'
import { checkShape, parseStrictJson } from '../../oci/json.ts'
import { MAX_TOKEN } from './identity-token.ts'
import type { AskService } from './service.ts'
import type { Hints } from '../../hints.ts'

/** Where an identity token comes from. */
export interface TokenSource {
  /** Behind "the identity token", for messages: `in FILE`. */
  readonly name: string
  /** A token that is there already, to be looked at before any work is done; undefined where it is asked for later. */
  peek(): Promise<string | undefined>
  /** The token, when it is needed. */
  get(ask: AskService): Promise<string>
}

/** Whom tokens are for. Private instances of Fulcio have the same, unless they were told otherwise. */
export const AUDIENCE = 'sigstore'

/**
 * The token in a file, with or without a line end. It is read anew when it is needed: it may have been renewed. A pipe
 * gives it once.
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

/** What a caller gives by a function. */
export function tokenFromCaller(give: () => Promise<string>): TokenSource {
  const get = async (): Promise<string> => (await give()).trim()
  return { name: 'that the program gives', peek: async () => undefined, get }
}

/**
 * The token that the environment has: `SIGSTORE_ID_TOKEN`, as cosign reads it, else what GitHub Actions gives to a job
 * that may ask for one.
 * @throws AirgapError `CREDENTIALS` when there is neither, saying how the CI system at hand gives one.
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
    throw new AirgapError('CREDENTIALS', 'ACTIONS_ID_TOKEN_REQUEST_URL holds no URL', { cause: error })
  }
}

const GitHubAnswer = v.object({ value: v.string('it has no token (value)') })

/** GitHub Actions, "About security hardening with OpenID Connect", the request of a token by a job. */
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
  const what = 'what GitHub Actions answers'
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
    'It comes from the CI system that this runs in, GitHub Actions (permissions: id-token: write) or GitLab (id_tokens: SIGSTORE_ID_TOKEN), or from a file. No browser is opened: where there is no CI system, sign with a key.',
    { id: 'identity-token' },
  ]
}
