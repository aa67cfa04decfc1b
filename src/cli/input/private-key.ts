import { existsSync } from 'node:fs'
import { AirgapError } from '../../errors.ts'
import type { SigningKey } from '../../index.ts'
import { canPrompt, promptPassword } from './prompt.ts'

const ATTEMPTS = 3

/** Where a command takes a key's password from. */
export interface PasswordPlace {
  /** The flag for the password file. */
  flag: string
  /** The environment variable that takes precedence over those for all keys. */
  variable: string
}

/**
 * Opens the private key for signing. Its password comes from the given file, the environment, or a prompt that allows
 * three attempts.
 * @param ask undefined if there is no terminal to ask on.
 * @param place for a command with more than one key; by default `--password-file` and the variables for all keys.
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
      process.stderr.write('Wrong password. Try again.\n')
    }
  }
}

/**
 * Opens a key for a plan. A plan signs nothing, so it asks for no password. If the password is given or not needed, the
 * key is opened; otherwise the public key next to it is used, where `keygen` writes it.
 * @returns undefined if there is neither a password nor a public key.
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
        // `PASSWORD` would be tried again.
        throw new AirgapError('INTERRUPTED', `a plan does not ask for the password of ${path}`)
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
    sign: async () => Promise.reject(new AirgapError('INTERNAL', 'a plan tried to sign')),
    warnings: [],
  }
}

/** `airgap.pub` for `airgap.key`, as keygen and cosign name pairs; undefined for any other name. */
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
 * The password for a new key: from the given file, the environment, or typed twice.
 * @throws AirgapError `USAGE` if there is none and no terminal to ask on.
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
