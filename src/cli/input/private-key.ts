import { existsSync } from 'node:fs'
import { AirgapError } from '../../errors.ts'
import type { SigningKey } from '../../index.ts'
import { canPrompt, promptPassword } from './prompt.ts'

const ATTEMPTS = 3

/** Where a command takes a key's password from, in its own words. */
export interface PasswordPlace {
  /** The flag that names a file. */
  flag: string
  /** The variable that comes before those of all keys. */
  variable: string
}

/**
 * Opens the private key for signing; its password comes from the environment, the file given, or a prompt, which
 * allows three attempts.
 * @param ask nothing where there is nobody to be asked.
 * @param place for a command with more than one key; else `--password-file` and the variables of all keys.
 */
export async function openSigningKey(
  path: string,
  passwordFile: string | undefined,
  ask: ((question: string) => Promise<string>) | undefined = canPrompt() ? promptPassword : undefined,
  place?: PasswordPlace,
): Promise<SigningKey> {
  const { readPrivateKey, passwordSource, PASSWORD_VARIABLE } = await import('../../index.ts')
  const own = place && process.env[place.variable]
  const env = own === undefined ? process.env : { ...process.env, [PASSWORD_VARIABLE]: own }
  for (let attempt = 1; ; attempt++) {
    let isTyped = false
    const prompt =
      ask &&
      (async (): Promise<string> => {
        isTyped = true
        return await ask(`Password for ${path}: `)
      })
    const source = { env, file: passwordFile, prompt }
    try {
      return await readPrivateKey(path, passwordSource(source))
    } catch (error) {
      const isWrong = error instanceof AirgapError && error.code === 'PASSWORD'
      if (isWrong && !isTyped && place) throw withPlace(error, place)
      if (!isWrong || !isTyped || attempt === ATTEMPTS) throw error
      process.stderr.write('That password does not open the key. Try again.\n')
    }
  }
}

/**
 * What a plan has to know of a key: nothing is signed, so nobody is asked for its password. Where that is given all the
 * same, or not needed, the key is opened; else its public half is taken, which lies beside it as `keygen` leaves it.
 * @returns undefined where the password is not given, and there is no public half.
 * @throws AirgapError as {@link openSigningKey}
 */
export async function openKeyForPlan(
  path: string,
  passwordFile: string | undefined,
  place?: PasswordPlace,
): Promise<SigningKey | undefined> {
  let isAsked = false
  try {
    return await openSigningKey(
      path,
      passwordFile,
      async () => {
        isAsked = true
        // Of a wrong password there would be another try.
        throw new AirgapError('INTERRUPTED', `nobody is asked for the password of ${path}`)
      },
      place,
    )
  } catch (error) {
    if (!isAsked) throw error
  }
  const file = publicHalfOf(path)
  if (file === undefined || !existsSync(file)) return undefined
  const { readPublicKey } = await import('../../index.ts')
  return {
    publicKey: await readPublicKey(file),
    sign: async () => Promise.reject(new AirgapError('INTERNAL', 'a key of a plan was to sign')),
    warnings: [],
  }
}

/** Beside `airgap.key` lies `airgap.pub`: keygen and cosign name pairs so. Of any other file, nobody can tell. */
export function publicHalfOf(path: string): string | undefined {
  return path.endsWith('.key') ? `${path.slice(0, -'.key'.length)}.pub` : undefined
}

function withPlace(error: AirgapError, { flag, variable }: PasswordPlace): AirgapError {
  const hint = error.hints.map((one) =>
    typeof one !== 'string' && one.id === 'password'
      ? `Set ${variable}, AIRGAP_PASSWORD or COSIGN_PASSWORD, name a file with ${flag}, or run this on a terminal.`
      : one,
  )
  return error.with({ hint, cause: error })
}

/**
 * The password for a new key: from the environment, the file given, or typed twice.
 * @throws AirgapError `USAGE` where there is none and nobody can be asked.
 */
export async function newPassword(passwordFile: string | undefined): Promise<string> {
  const { passwordSource } = await import('../../index.ts')
  const given = await passwordSource({
    env: process.env,
    file: passwordFile,
    ...(canPrompt() ? { prompt: typedTwice } : {}),
  })()
  if (given !== undefined) return given
  throw new AirgapError('USAGE', 'the new private key needs a password, and there is no terminal to ask on', {
    hint: 'Set AIRGAP_PASSWORD, or name a file with --password-file. An empty AIRGAP_PASSWORD is an empty password.',
  })
}

async function typedTwice(): Promise<string> {
  const first = await promptPassword('Password for the new private key: ')
  const second = await promptPassword('The same again: ')
  if (first !== second)
    throw new AirgapError('PASSWORD', 'the two passwords differ', { hint: 'No key was made. Try again.' })
  return first
}
