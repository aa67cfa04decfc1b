import { basename, isAbsolute } from 'node:path'
import { AirgapError, type Problem } from '../../errors.ts'
import { findProgram, isProgram, runProgram, type ProgramEnd } from '../../programs.ts'
import { withoutSecrets } from '../../redact.ts'
import { parseDetachedSignature } from '../detached.ts'
import type { PublicKey, SigningKey } from '../keys.ts'
import { DER_LIMIT } from '../verify.ts'
import { secretsIn } from './arguments.ts'
import { splitCommandLine } from './command-line.ts'

/** Somebody may have to type a PIN, or to touch a token. */
const TIMEOUT_MS = 120_000
const MAX_ERRORS = 16 * 1024
/** The last lines of what a program complains of. */
const MAX_LINES = 10
const MAX_LINE = 500

export interface SignCommandOptions {
  /**
   * The program and its arguments; or one line, split at blanks, with quotes and without any expansion. The program is
   * an absolute path, or a name that is found in the absolute entries of PATH.
   */
  command: string | readonly string[]
  /** The public half of the key that the program signs with: what comes back is checked with it. */
  publicKey: PublicKey
  /** What the program gets, without `AIRGAP_…` and `COSIGN_…`, where our own secrets are; default: our own. */
  env?: NodeJS.ProcessEnv | undefined
  /** How long it may take, milliseconds; default two minutes. */
  timeoutMs?: number | undefined
}

/**
 * A key held elsewhere (a token, an HSM, a key service), used by a program: it gets the bytes to be signed on standard
 * input, and answers with the signature alone on standard output, as `openssl dgst -sign` does: DER for ECDSA,
 * PKCS #1 v1.5 for RSA; base64 of that will do, too.
 *
 * The program is looked for at once, and run, without a shell, when something is signed. Its `sign` throws AirgapError
 * `SIGNING`, with the end of what the program has complained of in `problems`, when it fails, is killed, takes too long,
 * or prints what is no signature; the signal's reason.
 *
 * @throws AirgapError `USAGE` for a line that cannot be split or a program that is not there.
 */
export async function openSignCommand({
  command,
  publicKey,
  env = process.env,
  timeoutMs = TIMEOUT_MS,
}: SignCommandOptions): Promise<SigningKey> {
  const [named, ...args] = typeof command === 'string' ? splitCommandLine(command) : command
  const program = await locate(named, env)
  const name = basename(program)
  return {
    publicKey,
    heldBy: name,
    warnings: [],
    async sign(bytes, signal) {
      signal?.throwIfAborted()
      const ended = await runProgram(program, args, {
        input: bytes,
        env,
        timeoutMs,
        maxOutput: DER_LIMIT,
        maxErrors: MAX_ERRORS,
        signal,
      })
      signal?.throwIfAborted()
      const fault = faultOf(ended)
      if (fault !== undefined) throw failed(name, fault, BY_ITSELF, complaints(name, ended.stderr, args))
      return signatureIn(ended, name, args)
    },
  }
}

async function locate(named: string | undefined, env: NodeJS.ProcessEnv): Promise<string> {
  const program = named ?? ''
  if (isAbsolute(program)) {
    if (await isProgram(program)) return program
    throw new AirgapError('USAGE', `the sign command names ${program}, which is no program that can be run`)
  }
  if (/[/\\]/.test(program)) {
    throw new AirgapError('USAGE', `the sign command names its program by a relative path, ${program}`, {
      hint: 'Give the absolute path, or a name that is found in PATH.',
    })
  }
  const found = program === '' ? undefined : await findProgram(program, env)
  if (found !== undefined) return found
  throw new AirgapError(
    'USAGE',
    `the sign command names ${JSON.stringify(program)}, and PATH has no such program`,
    {
      hint: 'Give its absolute path. Entries of PATH that are relative are not looked into.',
    },
  )
}

function faultOf(ended: ProgramEnd): string | undefined {
  if (!ended.ok) return ended.reason
  if (ended.signal !== null) return `was ended by ${ended.signal}`
  if (ended.status !== 0) return `failed with exit status ${ended.status}`
  return undefined
}

function signatureIn(ended: ProgramEnd, name: string, args: readonly string[]): Buffer {
  const stdout = ended.ok ? ended.stdout : Buffer.alloc(0)
  try {
    const { der } = parseDetachedSignature(stdout, name)
    if (der) return der
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
  }
  const fault =
    stdout.length === 0
      ? 'has printed nothing, where a signature is expected'
      : `has printed ${stdout.length} bytes that are no signature`
  throw failed(name, fault, PROTOCOL, complaints(name, ended.stderr, args))
}

const PROTOCOL =
  'It gets the bytes on standard input and answers with the signature alone on standard output: DER for ECDSA, PKCS #1 v1.5 for RSA, over SHA-256.'
const BY_ITSELF =
  'Try the command by itself, with any file on its standard input. It does not get variables that begin with AIRGAP_ or COSIGN_, and cannot ask for anything on standard input.'

function failed(name: string, fault: string, hint: string, problems: Problem[]): AirgapError {
  return new AirgapError('SIGNING', `nothing was signed: the sign command ${name} ${fault}`, {
    hint,
    problems,
  })
}

/** What a program has written to standard error, without what its arguments may have held of secrets. */
function complaints(name: string, stderr: Buffer, args: readonly string[]): Problem[] {
  const text = withoutSecrets(stderr.toString('utf8'), secretsIn(args))
  const lines = text.split(/[\r\n]+/).map((line) => line.trimEnd())
  return lines
    .filter((line) => line !== '')
    .slice(-MAX_LINES)
    .map((line) => ({ entry: name, message: line.slice(0, MAX_LINE) }))
}
