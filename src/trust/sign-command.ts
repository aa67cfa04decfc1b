import { basename, isAbsolute } from 'node:path'
import { AirgapError, type Problem } from '../errors.ts'
import { findProgram, isProgram, type ProgramEnd, runProgram } from '../programs.ts'
import { withoutSecrets } from '../text.ts'
import { parseDetachedSignature } from './detached.ts'
import type { PublicKey, SigningKey } from './keys.ts'
import { DER_LIMIT } from './verify.ts'

/** Characters that mean something to a shell where they stand outside of quotes; some only where a word begins. */
const SPECIAL = new Set('|&;<>()$`\\*?[]{}')
const SPECIAL_AT_START = new Set('#~!')
/** And those inside double quotes. */
const SPECIAL_QUOTED = new Set('$`\\!')

// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/

/**
 * Splits a command line into its words. Blanks separate; single and double quotes hold what stands between them
 * together, as it is. Nothing is expanded and no shell is involved. What a shell would expand, or treat otherwise than
 * as text, is refused unless it is quoted: so a line that is accepted means what it means to a POSIX shell
 * (IEEE Std 1003.1, Shell Command Language, § 2.2), and nothing that looks like a pipe is handed over as an argument.
 *
 * @returns at least one word, the program.
 * @throws AirgapError `USAGE`; never quotes the line, which may hold a PIN.
 */
export function splitCommandLine(line: string): [program: string, ...args: string[]] {
  if (CONTROL.test(line)) throw refused('it holds a line end or another control character')
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
      'it begins with a variable (NAME=…), and only a shell sets these',
      'Set it before airgap is called.',
    )
  }
  return [program, ...args]
}

function special(character: string, where: string): AirgapError {
  return refused(
    `there is no shell to make anything of ${character}${where}`,
    `Put what is meant as text into single quotes ('…${character}…'). For pipes, variables and the like write a script, and name that.`,
  )
}

function refused(reason: string, hint?: string): AirgapError {
  return new AirgapError('USAGE', `the sign command cannot be used: ${reason}`, { hint })
}

/** Flags whose value is a secret: `--pin 1234`, `-passin pass:x`, `--so-pin=…`, and `-p`, as pkcs11-tool has it. */
const SECRET_FLAG = /^(?:-p|--?[a-z-]*(?:pin|pass|password|passwd|passphrase|passin|secret))$/i
/** A secret inside of an argument: a PKCS #11 URI's, OpenSSL's way of naming a password. */
const SECRET_PART = /(?:[?&;]pin-value=|^pass:)([^?&;]+)/gi

/**
 * What among a program's arguments may be secret, by its form. Secrets should stand in files or variables, which the
 * documentation says; where one does not, programs that repeat their arguments in complaints must not spread it.
 */
export function secretsIn(args: readonly string[]): string[] {
  const found: string[] = []
  args.forEach((argument, index) => {
    const [flag = '', ...value] = argument.split('=')
    if (SECRET_FLAG.test(flag) && value.length > 0) found.push(value.join('='))
    if (SECRET_FLAG.test(args[index - 1] ?? '')) found.push(argument)
    for (const [, part] of argument.matchAll(SECRET_PART)) found.push(part ?? '')
  })
  return found.filter((secret) => secret !== '')
}

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
