import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'

/** Maximum size of key and password files, in bytes. */
export const MAX_SECRET_FILE = 64 * 1024

/** The environment variable that holds a private key's password. */
export const PASSWORD_VARIABLE = 'AIRGAP_PASSWORD'
/** cosign's variable for the same, used if ours is not set. */
export const COSIGN_PASSWORD_VARIABLE = 'COSIGN_PASSWORD'

/** Called only when a password is needed. Returns undefined if there is none. */
export type PasswordSource = () => Promise<string | undefined>

export interface PasswordOptions {
  env: Readonly<Record<string, string | undefined>>
  /** A file with the password, with or without a line end. */
  file?: string | undefined
  /** Asks the user; undefined if there is nobody to ask. */
  prompt?: (() => Promise<string | undefined>) | undefined
}

/**
 * Where the password of a key comes from: the file, else `AIRGAP_PASSWORD`, else `COSIGN_PASSWORD`, else the prompt. A
 * variable that is set but empty is an empty password, as in cosign. Nothing is read or asked before the returned
 * function is called.
 *
 * The returned function throws AirgapError `FILE` or `PASSWORD` if the file cannot be used. One line end (`\n` or
 * `\r\n`) at the end of the file is ignored.
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
