import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'

/** Keys, passwords: nothing of that kind is larger. In bytes. */
export const MAX_SECRET_FILE = 64 * 1024

/** The environment variable that holds a private key's password. */
export const PASSWORD_VARIABLE = 'AIRGAP_PASSWORD'
/** cosign's variable for the same, taken when ours is not set. */
export const COSIGN_PASSWORD_VARIABLE = 'COSIGN_PASSWORD'

/** Asked for a password only when one is needed; nothing means that there is none to be had. */
export type PasswordSource = () => Promise<string | undefined>

export interface PasswordOptions {
  env: Readonly<Record<string, string | undefined>>
  /** A file that holds the password, with or without a line end. */
  file?: string | undefined
  /** Asks somebody; nothing when nobody is there. */
  prompt?: (() => Promise<string | undefined>) | undefined
}

/**
 * Where the password of a key comes from: the file, which somebody has named on the spot, else
 * `AIRGAP_PASSWORD`, else `COSIGN_PASSWORD`, else the prompt. A variable that is set but empty is an empty password, as it is for cosign. Nothing is read or
 * asked before the returned function is called.
 *
 * The returned function throws AirgapError `FILE` or `PASSWORD` when the file cannot be used. One line end
 * (`\n` or `\r\n`) at the end of the file does not count.
 */
export function passwordSource({ env, file, prompt }: PasswordOptions): PasswordSource {
  return async () => {
    if (file !== undefined) return await readPasswordFile(file)
    const given = env[PASSWORD_VARIABLE] ?? env[COSIGN_PASSWORD_VARIABLE]
    if (given !== undefined) return given
    return await prompt?.()
  }
}

async function readPasswordFile(path: string): Promise<string> {
  const bytes = await readSmallFile(path, MAX_SECRET_FILE, 'password')
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return text.replace(/\r?\n$/, '')
  } catch (error) {
    throw new AirgapError('PASSWORD', `the password file ${path} is not valid UTF-8`, { cause: error })
  }
}
