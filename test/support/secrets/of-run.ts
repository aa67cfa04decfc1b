import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expectNoSecrets, noteLogin, noteSecret } from './known.ts'

/** What a command was started with. */
export interface Start {
  args: readonly string[]
  cwd?: string | undefined
  env?: NodeJS.ProcessEnv | undefined
  stdin?: string | undefined
}

/** Larger ones hold layers. */
const MOST_BYTES = 512 * 1024

/** Folders and files of credentials below a home folder. */
const AUTH_FILES = ['.docker/config.json', '.config/containers/auth.json']

/**
 * Watches over one run of a command: notes the secrets that it is given, and in the end fails the test when its output,
 * or a file that it has written into its folder, shows one.
 */
export function watchRun(start: Start): { check(outcome: { stdout: string; stderr: string }): void } {
  const files = authFilesOf(start)
  noteSecretsOf(start, files)
  const before = timesIn(start.cwd)
  return {
    check: ({ stdout, stderr }) => {
      // A login has written its own.
      for (const file of files) noteAuthFile(file)
      const name = `airgap ${start.args[0] ?? ''}`
      expectNoSecrets(stderr, `standard error of ${name}`)
      if (stdout.length <= MOST_BYTES) expectNoSecrets(stdout, `standard output of ${name}`)
      for (const [file, time] of timesIn(start.cwd)) {
        const path = resolve(start.cwd ?? '.', file)
        if (before.get(file) === time || files.includes(path)) continue
        const allowed = file.endsWith('.key') ? ['an encrypted private key'] : []
        expectNoSecrets(readFileSync(path, 'latin1'), `${file}, written by ${name}`, allowed)
      }
    },
  }
}

/** Small files of a folder, with when they were last written to. */
function timesIn(folder: string | undefined): Map<string, number> {
  const times = new Map<string, number>()
  if (folder === undefined) return times
  for (const name of readdirSync(folder)) {
    const found = statSync(join(folder, name), { throwIfNoEntry: false })
    if (found?.isFile() && found.size <= MOST_BYTES) times.set(name, found.mtimeMs)
  }
  return times
}

function noteSecretsOf({ args, cwd = '.', env = {}, stdin }: Start, authFiles: readonly string[]): void {
  const noteFile = (file: string): void => {
    const text = textOf(resolve(cwd, file))
    if (text !== undefined) noteSecret(text.replace(/\r?\n$/, ''), 'a password from a file')
  }
  for (const [name, value = ''] of Object.entries(env)) {
    if (/_proxy$/i.test(name) && URL.canParse(value)) {
      const { username, password } = new URL(value)
      if (password !== '') noteLogin(decodeURIComponent(username), decodeURIComponent(password))
    } else if (name.endsWith('PASSWORD_FILE')) noteFile(value)
    else if (name.endsWith('PASSWORD')) noteSecret(value, name)
  }
  for (const file of valuesOf(args, '--password-file')) noteFile(file)
  if (args.includes('--password-stdin') && stdin !== undefined) {
    noteSecret(stdin.replace(/\r?\n$/, ''), 'the password given to login')
  }
  for (const file of authFiles) noteAuthFile(file)
}

function authFilesOf({ args, cwd = '.', env = {} }: Start): string[] {
  const { HOME, DOCKER_CONFIG, REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR } = env
  const files = [
    ...valuesOf(args, '--auth-file'),
    ...(REGISTRY_AUTH_FILE ? [REGISTRY_AUTH_FILE] : []),
    ...(DOCKER_CONFIG ? [join(DOCKER_CONFIG, 'config.json')] : []),
    ...(XDG_RUNTIME_DIR ? [join(XDG_RUNTIME_DIR, 'containers/auth.json')] : []),
    ...(HOME ? AUTH_FILES.map((file) => join(HOME, file)) : []),
  ]
  return files.map((file) => resolve(cwd, file))
}

function valuesOf(args: readonly string[], flag: string): string[] {
  return args.flatMap((arg, i) => {
    if (arg.startsWith(`${flag}=`)) return [arg.slice(flag.length + 1)]
    return arg === flag && args[i + 1] !== undefined ? [args[i + 1] as string] : []
  })
}

interface AuthEntry {
  auth?: string
  username?: string
  password?: string
  identitytoken?: string
  registrytoken?: string
}

function noteAuthFile(path: string): void {
  let entries: [string, AuthEntry][]
  try {
    const { auths } = JSON.parse(textOf(path) ?? '{}') as { auths?: Record<string, AuthEntry> }
    entries = Object.entries(auths ?? {})
  } catch {
    // Some tests want it damaged.
    return
  }
  for (const [host, entry] of entries) {
    for (const token of [entry?.identitytoken, entry?.registrytoken]) {
      if (typeof token === 'string') noteSecret(token, `the token for ${host}`)
    }
    if (typeof entry?.auth === 'string') {
      const [user = '', ...password] = Buffer.from(entry.auth, 'base64').toString().split(':')
      noteLogin(user, password.join(':'))
    }
    if (typeof entry?.password === 'string') noteLogin(entry.username ?? '', entry.password)
  }
}

function textOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found?.isFile() || found.size > MOST_BYTES) return undefined
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Not readable for the command either.
    return undefined
  }
}
