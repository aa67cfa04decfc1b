import { constants } from 'node:fs'
import { open, opendir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { AirgapError, fileError, systemCode } from '../../errors.ts'
import { isDockerHub, portOf } from './hosts.ts'
import { parseCertificates, type HostTls } from './tls.ts'
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'

/** A folder of a registry has a handful of files. */
const MAX_ENTRIES = 1000
const MAX_FILE = 1024 * 1024

/** What a certs.d folder has for one host. */
export interface CertsFolder {
  folder: string
  tls: HostTls
  warnings: string[]
}

/**
 * The folders that hold one folder for each registry, in the order in which they are looked into: the user's own of
 * Podman (containers-certs.d(5)) and of a rootless Docker, then the machine's of Podman and of Docker.
 */
export function certsRoots(env: NodeJS.ProcessEnv): string[] {
  const home = env['HOME'] ?? (env === process.env ? homedir() : undefined)
  const config = env['XDG_CONFIG_HOME']
  const own = [
    ...(config !== undefined && isAbsolute(config) ? [config] : []),
    ...(home ? [join(home, '.config')] : []),
  ]
  const roots = [
    ...['containers', 'docker'].flatMap((tool) => own.map((folder) => join(folder, tool))),
    ...ETC,
  ]
  return [...new Set(roots.map((folder) => join(folder, 'certs.d')))]
}

const ETC = ['/etc/containers', '/etc/docker']

/**
 * Reads the folder of a host: `*.crt` are authorities, and `NAME.cert` with `NAME.key` is a client certificate. As
 * with Podman the first folder that there is counts, and no other; its name is the registry's as references write it,
 * with the port where they have one.
 *
 * @returns undefined when there is none.
 * @throws AirgapError `FILE`, which names the file: what is unreadable, damaged or incomplete is not passed over.
 */
export async function readCertsFolder(roots: readonly string[], url: URL): Promise<CertsFolder | undefined> {
  for (const root of roots) {
    for (const name of folderNames(url)) {
      const folder = join(root, name)
      const entries = await list(folder)
      if (entries) return { folder, ...(await readFolder(folder, entries)) }
    }
  }
  return undefined
}

/** The names that a host's folder can have. None for what could lead out of the folder that holds it. */
export function folderNames(url: URL): string[] {
  const host = url.hostname.toLowerCase()
  if (!/^(?:\[[0-9a-f:.]+\]|[a-z0-9_][a-z0-9_.-]*)$/.test(host)) return []
  const port = portOf(url)
  const names = url.port === '' ? [host, `${host}:${port}`] : [`${host}:${port}`]
  // Where references say docker.io, docker.io is what users name a folder.
  return url.port === '' && isDockerHub(host) ? ['docker.io', ...names] : names
}

/** The names in a folder, sorted; undefined where there is no such folder, or none for us. */
async function list(folder: string): Promise<string[] | undefined> {
  const names: string[] = []
  try {
    for await (const { name } of await opendir(folder)) {
      if (!/\.(?:crt|cert|key)$/.test(name)) continue
      names.push(name)
      if (names.length > MAX_ENTRIES) {
        throw new AirgapError(
          'FILE',
          `cannot use ${folder}: it holds more than ${MAX_ENTRIES} certificates and keys`,
        )
      }
    }
  } catch (error) {
    const code = systemCode(error)
    // Podman looks on, too: what only root may look into is not meant for other users.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return undefined
    throw fileError(error, 'read the folder', folder)
  }
  return names.toSorted()
}

async function readFolder(
  folder: string,
  names: readonly string[],
): Promise<{ tls: HostTls; warnings: string[] }> {
  const warnings: string[] = []
  const ca: string[] = []
  const caFiles = names.filter((name) => name.endsWith('.crt')).map((name) => join(folder, name))
  for (const path of caFiles) {
    const { text } = await readCertsFile(path, 'CA')
    ca.push(...parseCertificates(text, path))
  }
  const pairs = pairsIn(folder, names)
  const [pair] = pairs
  if (!pair) return { tls: { ca, files: { ca: caFiles } }, warnings }
  if (pairs.length > 1) {
    warnings.push(`there are several client certificates in ${folder}: ${pair.cert} is used`)
  }
  const { text: cert } = await readCertsFile(pair.cert, 'client certificate')
  const { text: key, mode } = await readCertsFile(pair.key, 'client key')
  checkKeyPair(cert, key, pair)
  if ((mode & 0o006) !== 0) {
    warnings.push(`everybody on this machine can read or change the private key ${pair.key} (chmod 600)`)
  }
  return { tls: { ca, cert, key, files: { ca: caFiles, cert: pair.cert } }, warnings }
}

/** @throws AirgapError `FILE` where one half is missing, which most often is a name with the wrong ending. */
function pairsIn(folder: string, names: readonly string[]): { cert: string; key: string }[] {
  const has = new Set(names)
  const path = (name: string): string => join(folder, name)
  const endings = 'What ends in .crt is an authority; a client certificate ends in .cert, its key in .key.'
  for (const name of names) {
    if (name.endsWith('.key') && !has.has(name.replace(/key$/, 'cert'))) {
      const missing = path(name.replace(/key$/, 'cert'))
      throw new AirgapError('FILE', `cannot use the client key ${path(name)}: there is no ${missing}`, {
        hint: endings,
      })
    }
  }
  return names
    .filter((name) => name.endsWith('.cert'))
    .map((name) => {
      const key = name.replace(/cert$/, 'key')
      if (!has.has(key)) {
        throw new AirgapError(
          'FILE',
          `cannot use the client certificate ${path(name)}: there is no ${path(key)}`,
          { hint: endings },
        )
      }
      return { cert: path(name), key: path(key) }
    })
}

/**
 * Reads a file, through links as those of mounted secrets. A pipe or device is refused before it can make anybody wait.
 * @throws AirgapError `FILE`
 */
async function readCertsFile(path: string, what: string): Promise<{ text: string; mode: number }> {
  try {
    await using handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await handle.stat()
    if (stat.isDirectory()) throw Object.assign(new Error('a folder'), { code: 'EISDIR' })
    const refuse = (reason: string): never => {
      throw new AirgapError('FILE', `cannot use the ${what} file ${path}: ${reason}`)
    }
    if (!stat.isFile()) refuse('it is no regular file')
    const bytes = Buffer.alloc(Math.min(stat.size, MAX_FILE) + 1)
    let length = 0
    while (length < bytes.length) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length, length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    if (length > MAX_FILE) refuse(`it is larger than ${MAX_FILE / 1024} KiB`)
    return { text: bytes.toString('latin1', 0, length), mode: stat.mode }
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ELOOP') {
      throw new AirgapError('FILE', `cannot read the ${what} file ${path}: its links lead in a circle`)
    }
    if (code === 'EACCES') {
      throw new AirgapError('FILE', `cannot read the ${what} file ${path}: permission denied`, {
        hint: 'Have it made readable for you, or put a folder of your own with all that is needed into ~/.config/containers/certs.d: it comes first.',
        cause: error,
      })
    }
    throw fileError(error, `read the ${what} file`, path)
  }
}

/**
 * Checks that a client certificate and its private key are whole and belong together: the error at the connection
 * would name neither.
 * @param paths for messages.
 * @throws AirgapError `FILE`
 */
export function checkKeyPair(cert: string, key: string, paths: { cert: string; key: string }): void {
  const certificate = readCertificate(cert, paths.cert)
  const privateKey = readKey(key, paths.key)
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new AirgapError(
      'FILE',
      `the client key ${paths.key} does not belong to the client certificate ${paths.cert}`,
      { hint: 'In the .cert file, the own certificate comes first, and those of its authorities behind it.' },
    )
  }
}

function readCertificate(text: string, path: string): X509Certificate {
  try {
    return new X509Certificate(text)
  } catch {
    throw new AirgapError(
      'FILE',
      `cannot use the client certificate ${path}: it holds no PEM certificate, or a damaged one`,
    )
  }
}

function readKey(text: string, path: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(text)) {
    throw new AirgapError('FILE', `cannot use the client key ${path}: it is encrypted with a password`, {
      hint: 'Write it without one, readable for you alone: openssl pkey -in FILE -out client.key && chmod 600 client.key',
    })
  }
  try {
    return createPrivateKey(text)
  } catch {
    // No cause: a parser's message could quote the key.
    throw new AirgapError(
      'FILE',
      `cannot use the client key ${path}: it holds no PEM private key, or a damaged one`,
    )
  }
}
