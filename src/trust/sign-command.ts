import { basename, isAbsolute } from 'node:path'
import { AirgapError, type Problem } from '../errors.ts'
import { findProgram, isProgram, type ProgramEnd, runProgram } from '../programs.ts'
import { withoutSecrets } from '../text.ts'
import { parseDetachedSignature } from './detached.ts'
import type { PublicKey, SigningKey } from './keys.ts'
import { DER_LIMIT } from './verify.ts'

/** Characters that are special to a shell outside quotes; the second set only at the beginning of a word. */
const SPECIAL = new Set('|&;<>()$`\\*?[]{}')
const SPECIAL_AT_START = new Set('#~!')
/** Characters that are special inside double quotes. */
const SPECIAL_QUOTED = new Set('$`\\!')

// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/

/**
 * Splits a command line into words at spaces and tabs; single and double quotes keep text together. Nothing is
 * expanded, and no shell is used. Anything that a shell would not treat as plain text is refused unless it is quoted.
 * So an accepted line means the same as in a POSIX shell (IEEE Std 1003.1, Shell Command Language, § 2.2), and
 * something like a pipe is not passed as an argument.
 *
 * @returns at least one word: the program.
 * @throws AirgapError `USAGE`; does not quote the line, which may contain a PIN.
 */
export function splitCommandLine(line: string): [program: string, ...args: string[]] {
  if (CONTROL.test(line)) throw refused('it contains a line end or another control character')
  const words: string[] = []
  let word: string | undefined
  let quote: string | undefined
  for (const character of line) {
    if (quote !== undefined) {
      if (character === quote) quote = undefined
      else if (quote === '"' && SPECIAL_QUOTED.has(character)) throw special(character, ' in double quotes')
      else word = `${word}${character}`
    } else if (character === ' ' || character === '\t') {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (character === "'" || character === '"') {
      quote = character
      word ??= ''
    } else if (SPECIAL.has(character) || (word === undefined && SPECIAL_AT_START.has(character))) {
      throw special(character, '')
    } else {
      word = `${word ?? ''}${character}`
    }
  }
  if (quote !== undefined) throw refused(`a quote (${quote}) is not closed`)
  if (word !== undefined) words.push(word)
  const [program, ...args] = words
  if (program === undefined || program === '') throw refused('it names no program')
  if (/^[A-Za-z_][A-Za-z0-9_]*=/.test(program)) {
    throw refused(
      'it begins with a variable (NAME=…), which only a shell can set',
      'Set the variable before you run airgap.',
    )
  }
  return [program, ...args]
}

function special(character: string, where: string): AirgapError {
  return refused(
    `it is not run by a shell, so ${character}${where} has no meaning`,
    `If it is meant as text, put it into single quotes ('…${character}…'). For pipes, variables and the like, write a script and give that.`,
  )
}

function refused(reason: string, hint?: string): AirgapError {
  return new AirgapError('USAGE', `the sign command cannot be used: ${reason}`, { hint })
}

/** Flags whose value is a secret: `--pin 1234`, `-passin pass:x`, `--so-pin=…`, and `-p` of pkcs11-tool. */
const SECRET_FLAG = /^(?:-p|--?[a-z-]*(?:pin|pass|password|passwd|passphrase|passin|secret))$/i
/** A secret inside an argument: the PIN in a PKCS #11 URI, or OpenSSL's `pass:`. */
const SECRET_PART = /(?:[?&;]pin-value=|^pass:)([^?&;]+)/gi

/**
 * Arguments of a program that may be secret, by their form. Secrets should be in files or variables, as the
 * documentation says. If one is not, a program that repeats its arguments in error messages must not leak it.
 */
export function secretArguments(args: readonly string[]): string[] {
  const found: string[] = []
  args.forEach((argument, index) => {
    const [flag = '', ...value] = argument.split('=')
    if (SECRET_FLAG.test(flag) && value.length > 0) found.push(value.join('='))
    if (SECRET_FLAG.test(args[index - 1] ?? '')) found.push(argument)
    for (const [, part] of argument.matchAll(SECRET_PART)) found.push(part ?? '')
  })
  return found.filter((secret) => secret !== '')
}

/** Long enough to type a PIN, or to touch a token. */
const TIMEOUT_MS = 120_000
const MAX_ERRORS = 16 * 1024
/** How many of the last lines of a program's standard error are shown. */
const MAX_LINES = 10
const MAX_LINE = 500

export interface SignCommandOptions {
  /**
   * The program and its arguments; or one line, split at spaces, with quotes and without any expansion. The program is
   * an absolute path, or a name to be found in the absolute entries of PATH.
   */
  command: string | readonly string[]
  /** The public key that belongs to the program's key; signatures are verified with it. */
  publicKey: PublicKey
  /** The program's environment, by default that of this process. Our secrets (`AIRGAP_…`, `COSIGN_…`) are left out. */
  env?: NodeJS.ProcessEnv | undefined
  /** How long it may take, in milliseconds; default: two minutes. */
  timeoutMs?: number | undefined
}

/**
 * A key held elsewhere (in a token, an HSM or a key service) that a program signs with. The program gets the bytes on
 * standard input and prints only the signature on standard output, like `openssl dgst -sign`: DER for ECDSA, PKCS #1
 * v1.5 for RSA, or that in base64.
 *
 * The program is looked up at once, and run without a shell when something is signed. `sign` throws AirgapError
 * `SIGNING` if the program fails, is killed, takes too long, or prints no signature; the end of its standard error is
 * in `problems`. It also throws the signal's reason.
 *
 * @throws AirgapError `USAGE` for a line that cannot be split, or a program that does not exist.
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
    throw new AirgapError('USAGE', `the sign command names ${program}, which is not an executable program`)
  }
  if (/[/\\]/.test(program)) {
    throw new AirgapError('USAGE', `the sign command names its program by a relative path, ${program}`, {
      hint: 'Give the absolute path, or a name that is in PATH.',
    })
  }
  const found = program === '' ? undefined : await findProgram(program, env)
  if (found !== undefined) return found
  throw new AirgapError(
    'USAGE',
    `the sign command names ${JSON.stringify(program)}, but PATH has no such program`,
    {
      hint: 'Give its absolute path. Relative entries of PATH are ignored.',
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
      ? 'printed nothing instead of a signature'
      : `printed ${stdout.length} bytes that are not a signature`
  throw failed(name, fault, PROTOCOL, complaints(name, ended.stderr, args))
}

const PROTOCOL =
  'It gets the bytes on standard input and must print only the signature on standard output: DER for ECDSA, PKCS #1 v1.5 for RSA, over SHA-256.'
const BY_ITSELF =
  'Try the command by itself, with any file on its standard input. It does not get variables that begin with AIRGAP_ or COSIGN_, and cannot read answers from standard input.'

function failed(name: string, fault: string, hint: string, problems: Problem[]): AirgapError {
  return new AirgapError('SIGNING', `nothing was signed: the sign command ${name} ${fault}`, {
    hint,
    problems,
  })
}

/** The last lines of a program's standard error, without possible secrets from its arguments. */
function complaints(name: string, stderr: Buffer, args: readonly string[]): Problem[] {
  const text = withoutSecrets(stderr.toString('utf8'), secretArguments(args))
  const lines = text.split(/[\r\n]+/).map((line) => line.trimEnd())
  return lines
    .filter((line) => line !== '')
    .slice(-MAX_LINES)
    .map((line) => ({ entry: name, message: line.slice(0, MAX_LINE) }))
}
