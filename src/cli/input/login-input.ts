import { AirgapError } from '../../errors.ts'
import { log } from '../output/log.ts'
import { canPrompt, Prompt } from './prompt.ts'

const MAX_PASSWORD = 64 * 1024

export interface UserAndPassword {
  username: string
  password: string
}

/** The flags of login for user name and password. */
export interface LoginInputFlags {
  username?: string | undefined
  'password-stdin': boolean
  /** Only exists to be refused with a reason. */
  password?: string | undefined
}

/**
 * Refuses what cannot work before anything is done.
 * @throws AirgapError `USAGE`
 */
export function checkLoginInput({
  username,
  password,
  'password-stdin': fromStandardInput,
}: LoginInputFlags): void {
  if (password !== undefined) {
    throw new AirgapError('USAGE', 'a password cannot be given on the command line', {
      hint: 'It would be in the shell history, and visible to everybody in the process list. If it was a real one, change it. Leave --password out to be asked, or use --password-stdin.',
    })
  }
  if (username !== undefined) checkUsername(username)
  if (fromStandardInput && username === undefined) {
    throw new AirgapError('USAGE', '--password-stdin needs --username', {
      hint: 'Standard input must contain only the password: airgap login REGISTRY --username USER --password-stdin < FILE',
    })
  }
  if (fromStandardInput && process.stdin.isTTY) {
    throw new AirgapError('USAGE', '--password-stdin is given, but standard input is the terminal', {
      hint: 'Leave it out to type the password without showing it, or redirect a file: --password-stdin < FILE',
    })
  }
  if (!fromStandardInput && !canPrompt()) {
    const reason =
      log.format === 'json' ? '--log-format json does not allow a prompt' : 'there is no terminal to ask on'
    throw new AirgapError('USAGE', `no password is given, and ${reason}`, {
      hint: 'airgap login REGISTRY --username USER --password-stdin < FILE',
    })
  }
}

/**
 * User name and password: from the flag and standard input, or asked for.
 * @throws AirgapError `USAGE` for what no registry can take, `INTERRUPTED`
 */
export async function readLoginInput(registry: string, flags: LoginInputFlags): Promise<UserAndPassword> {
  if (flags['password-stdin']) {
    return { username: flags.username ?? '', password: checkPassword(await readStandardInput()) }
  }
  using prompt = new Prompt()
  const username =
    flags.username ?? (await prompt.ask(`Username for ${registry}: `, { isSecret: false })).trim()
  checkUsername(username)
  const question = `Password or access token of ${username} for ${registry}: `
  return { username, password: checkPassword(await prompt.ask(question, { isSecret: true })) }
}

function checkUsername(username: string): void {
  const fail = (reason: string): never => {
    throw new AirgapError('USAGE', `the user name ${reason}`)
  }
  if (username === '') fail('is empty')
  // Basic authentication ends the user name at the first colon (RFC 7617 § 2).
  if (username.includes(':')) fail('contains a colon, which no registry accepts')
  if (/\p{Cc}/u.test(username)) fail('contains a control character')
}

function checkPassword(password: string): string {
  if (password === '') {
    throw new AirgapError('USAGE', 'the password is empty', {
      hint: 'Nothing was stored. If it comes from a file or a secret store, check that this is not empty.',
    })
  }
  if (password.includes('\0')) {
    throw new AirgapError('USAGE', 'the password contains a zero byte, which no registry accepts')
  }
  return password
}

/** All of standard input without the last line end. A key file that serves as a password has several lines. */
async function readStandardInput(): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > MAX_PASSWORD) {
      throw new AirgapError(
        'USAGE',
        `standard input has more than ${MAX_PASSWORD} bytes: that is not a password`,
      )
    }
    chunks.push(chunk)
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
    return text.replace(/\r?\n$/, '')
  } catch {
    throw new AirgapError('USAGE', 'the password on standard input is not UTF-8 text')
  }
}
