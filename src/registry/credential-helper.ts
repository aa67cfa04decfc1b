import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { delimiter, isAbsolute, join } from 'node:path'
import { AirgapError, messageOf } from '../errors.ts'
import { oneLine } from './http-errors.ts'

const NAME = /^[A-Za-z0-9._-]+$/
const MAX_OUTPUT = 64 * 1024
const TIMEOUT_MS = 30_000

export interface HelperAnswer {
  username: string
  secret: string
}

/**
 * Asks `docker-credential-NAME get` for the credentials of `server` (docker-credential-helpers' protocol: the
 * server on standard input, JSON on standard output).
 *
 * The name comes from a configuration file, so it is held to letters, digits, `.`, `_` and `-`; the program is
 * looked for in the absolute entries of PATH only and run without a shell, and does not get our own secrets in
 * its environment.
 *
 * @returns undefined when the helper has none for that server.
 * @throws AirgapError `CREDENTIALS`
 */
export async function askCredentialHelper(
  name: string,
  server: string,
  env: NodeJS.ProcessEnv,
  timeoutMs = TIMEOUT_MS,
): Promise<HelperAnswer | undefined> {
  const fail = (reason: string, hint?: string): never => {
    throw new AirgapError('CREDENTIALS', `cannot get credentials for ${server}: ${reason}`, { hint })
  }
  if (!NAME.test(name)) return fail(`${JSON.stringify(oneLine(name))} is not a credential helper's name`)
  const program = await findProgram(`docker-credential-${name}`, env)
  if (program === undefined) {
    return fail(
      `there is no docker-credential-${name} in the PATH`,
      'Install the helper, or take it out of the credentials file (credsStore, credHelpers).',
    )
  }
  const { status, output } = await run(program, server, env, timeoutMs).catch((error: unknown) =>
    fail(`docker-credential-${name} ${messageOf(error)}`),
  )
  if (status !== 0) {
    if (/credentials not found|no credentials/i.test(output)) return undefined
    // Helpers print their complaint where the answer would stand; an answer is never quoted.
    const complaint = output.includes('{') ? '' : oneLine(output)
    return fail(`docker-credential-${name} failed${complaint === '' ? '' : `: ${complaint}`}`)
  }
  let answer: { Username?: unknown; Secret?: unknown }
  try {
    answer = JSON.parse(output) as typeof answer
  } catch {
    // The parser's message would quote the secret.
    return fail(`docker-credential-${name} did not answer with JSON`)
  }
  const { Username: username, Secret: secret } = answer ?? {}
  if (typeof username !== 'string' || typeof secret !== 'string') {
    return fail(`docker-credential-${name} answered without Username and Secret`)
  }
  return secret === '' ? undefined : { username, secret }
}

async function findProgram(file: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const names = process.platform === 'win32' ? [`${file}.exe`] : [file]
  for (const folder of (env['PATH'] ?? env['Path'] ?? '').split(delimiter)) {
    if (!isAbsolute(folder)) continue
    for (const name of names) {
      const path = join(folder, name)
      if (await isProgram(path)) return path
    }
  }
  return undefined
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}

function run(
  program: string,
  input: string,
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
): Promise<{ status: number | null; output: string }> {
  const own = Object.entries(env).filter(([key]) => !/^(?:AIRGAP|COSIGN)_/i.test(key))
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['get'], {
      shell: false,
      env: Object.fromEntries(own),
      stdio: ['pipe', 'pipe', 'ignore'],
      windowsHide: true,
    })
    const chunks: Buffer[] = []
    let length = 0
    const giveUp = (reason: string): void => {
      child.kill('SIGKILL')
      child.stdout.destroy()
      reject(new Error(reason))
    }
    const timer = setTimeout(() => giveUp(`did not answer within ${timeoutMs / 1000} s`), timeoutMs)
    child.stdout.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > MAX_OUTPUT) giveUp(`answered with more than ${MAX_OUTPUT} bytes`)
      else chunks.push(chunk)
    })
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(new Error(`could not be run: ${error.message}`))
    })
    child.on('close', (status) => {
      clearTimeout(timer)
      resolve({ status, output: Buffer.concat(chunks).toString('utf8') })
    })
    // A helper may end without reading; its answer is what counts.
    child.stdin.on('error', () => {})
    child.stdin.end(`${input}\n`)
  })
}
