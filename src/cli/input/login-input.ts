import { AirgapError } from '../../errors.ts'
import { log } from '../output/log.ts'
import { canPrompt, Prompt } from './prompt.ts'

const MAX_PASSWORD = 64 * 1024

export interface UserAndPassword {
  username: string
  password: string
}

/** The flags of a login that concern user name and password. */
export interface LoginInputFlags {
  username?: string | undefined
  'password-stdin': boolean
  /** Not a way to give one: only there to be refused with a reason. */
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
    throw new AirgapError('USAGE', 'a password is not taken from the command line', {
      hint: 'There it can be read in the shell history, and by everybody in the list of processes: change it if it was a real one. Leave --password out to be asked, or use --password-stdin.',
    })
  }
  if (username !== undefined) checkUsername(username)
  if (fromStandardInput && username === undefined) {
    throw new AirgapError('USAGE', '--password-stdin needs --username', {
      hint: 'Standard input holds the password alone: airgap login REGISTRY --username USER --password-stdin < FILE',
    })
  }
  if (fromStandardInput && process.stdin.isTTY) {
    throw new AirgapError('USAGE', '--password-stdin, but standard input is the terminal', {
      hint: 'Leave it out to be asked for the password without showing it, or redirect: --password-stdin < FILE',
    })
  }
  if (!fromStandardInput && !canPrompt()) {
    const reason =
      log.format === 'json' ? 'nobody is asked with --log-format json' : 'there is no terminal to ask on'
    throw new AirgapError('USAGE', `the password is not given, and ${reason}`, {
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
  if (username.includes(':')) fail('holds a colon, which no registry can take')
  if (/\p{Cc}/u.test(username)) fail('holds a control character')
}

function checkPassword(password: string): string {
  if (password === '') {
    throw new AirgapError('USAGE', 'the password is empty', {
      hint: 'Nothing was stored. If it was to come from a file or a secret store, see whether that gave anything.',
    })
  }
  if (password.includes('\0')) {
    throw new AirgapError('USAGE', 'the password holds a zero byte, which no registry can take')
  }
  return password
}

/** All of standard input, without the line end behind it: a key file that serves as a password has several lines. */
async function readStandardInput(): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > MAX_PASSWORD) {
      throw new AirgapError(
        'USAGE',
        `standard input holds more than ${MAX_PASSWORD} bytes: that is no password`,
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
