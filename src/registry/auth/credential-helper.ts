import { AirgapError } from '../../errors.ts'
import { findProgram, runProgram } from '../../programs.ts'
import { oneLine } from '../faults/quote.ts'
import type { Hints } from '../../hints.ts'

const NAME = /^[A-Za-z0-9._-]+$/
const MAX_OUTPUT = 64 * 1024
const TIMEOUT_MS = 30_000
/** The user may have to type the passphrase of the helper's store. */
const CHANGE_TIMEOUT_MS = 120_000

export interface HelperAnswer {
  username: string
  secret: string
}

/**
 * Finds the program of a credential helper. The name comes from a configuration file, so only letters, digits, `.`, `_`
 * and `-` are allowed, and only the absolute entries of PATH are searched.
 * @param purpose completes "cannot …", for messages.
 * @throws AirgapError `CREDENTIALS` when there is no such program.
 */
export async function findCredentialHelper(
  name: string,
  env: NodeJS.ProcessEnv,
  purpose: string,
): Promise<string> {
  if (!NAME.test(name)) {
    throw failed(purpose, `${JSON.stringify(oneLine(name))} is not a credential helper's name`)
  }
  const program = await findProgram(`docker-credential-${name}`, env)
  if (program !== undefined) return program
  throw failed(
    purpose,
    `there is no docker-credential-${name} in the PATH`,
    'Install the helper, or take it out of the credentials file (credsStore, credHelpers).',
  )
}

/**
 * Asks `docker-credential-NAME get` for the credentials of `server` (docker-credential-helpers' protocol: the
 * server on standard input, JSON on standard output). The program runs without a shell, and without our own secrets in
 * its environment.
 *
 * @returns undefined when the helper has no credentials for that server.
 * @throws AirgapError `CREDENTIALS`
 */
export async function askCredentialHelper(
  name: string,
  server: string,
  env: NodeJS.ProcessEnv,
  timeoutMs = TIMEOUT_MS,
  signal?: AbortSignal,
): Promise<HelperAnswer | undefined> {
  const purpose = `get credentials for ${server}`
  const output = await runHelper({ name, action: 'get', purpose, input: server, env, timeoutMs, signal })
  if (output === undefined) return undefined
  let answer: { Username?: unknown; Secret?: unknown }
  try {
    answer = JSON.parse(output) as typeof answer
  } catch {
    // The parser's message would quote the secret.
    throw failed(purpose, `docker-credential-${name} did not answer with JSON`)
  }
  const { Username: username, Secret: secret } = answer ?? {}
  if (typeof username !== 'string' || typeof secret !== 'string') {
    throw failed(purpose, `docker-credential-${name} answered without Username and Secret`)
  }
  return secret === '' ? undefined : { username, secret }
}

/**
 * Stores credentials by `docker-credential-NAME store`.
 * @throws AirgapError `CREDENTIALS`
 */
export async function storeInHelper(
  name: string,
  server: string,
  { username, secret }: HelperAnswer,
  env: NodeJS.ProcessEnv,
  timeoutMs = CHANGE_TIMEOUT_MS,
): Promise<void> {
  const purpose = `store the credentials for ${server}`
  const input = JSON.stringify({ ServerURL: server, Username: username, Secret: secret })
  const output = await runHelper({ name, action: 'store', purpose, input, env, timeoutMs, secret })
  if (output === undefined) throw failed(purpose, `docker-credential-${name} failed`)
}

/**
 * Removes the credentials of `server` by `docker-credential-NAME erase`. It is no error if there are none.
 * @throws AirgapError `CREDENTIALS`
 */
export async function eraseFromHelper(
  name: string,
  server: string,
  env: NodeJS.ProcessEnv,
  timeoutMs = CHANGE_TIMEOUT_MS,
): Promise<void> {
  const purpose = `remove the credentials for ${server}`
  await runHelper({ name, action: 'erase', purpose, input: server, env, timeoutMs })
}

const BY_ITSELF: Hints = [
  'Check whether the helper works on its own (docker-credential-NAME list): its store may be locked, or may need a desktop session. A credentials file without helpers needs no store.',
  { id: 'auth-file' },
]

function failed(purpose: string, reason: string, hint?: Hints): AirgapError {
  return new AirgapError('CREDENTIALS', `cannot ${purpose}: ${reason}`, { hint: hint ?? BY_ITSELF })
}

interface HelperRun {
  name: string
  action: 'get' | 'store' | 'erase'
  purpose: string
  input: string
  env: NodeJS.ProcessEnv
  timeoutMs: number
  /** Never quoted, even if the helper prints it. */
  secret?: string
  /** Ends the helper. */
  signal?: AbortSignal | undefined
}

/** @returns what the helper prints; undefined when it knows no such credentials. */
async function runHelper(helper: HelperRun): Promise<string | undefined> {
  const { name, purpose, secret } = helper
  const program = await findCredentialHelper(name, helper.env, purpose)
  helper.signal?.throwIfAborted()
  const { action, input, env, timeoutMs, signal } = helper
  const ended = await runProgram(program, [action], {
    input: `${input}\n`,
    env,
    timeoutMs,
    maxOutput: MAX_OUTPUT,
    signal,
  })
  if (!ended.ok) throw failed(purpose, `docker-credential-${name} ${ended.reason}`)
  const output = ended.stdout.toString('utf8')
  if (ended.status === 0) return output
  if (/credentials not found|no credentials/i.test(output)) return undefined
  // Helpers print errors to standard output, where the answer would be. An answer is never quoted.
  const isQuotable = !output.includes('{') && (secret === undefined || !output.includes(secret))
  const complaint = isQuotable ? oneLine(output) : ''
  throw failed(purpose, `docker-credential-${name} failed${complaint === '' ? '' : `: ${complaint}`}`)
}
