import { constants } from 'node:fs'
import { open, opendir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { AirgapError, fileError, systemCode } from '../../errors.ts'
import { isDockerHub, portOf } from './hosts.ts'
import { parseCertificates, type HostTls } from './tls.ts'
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'

/** A registry's folder normally holds a handful of files. */
const MAX_ENTRIES = 1000
const MAX_FILE = 1024 * 1024

/** The contents of a certs.d folder for one host. */
export interface CertsFolder {
  folder: string
  tls: HostTls
  warnings: string[]
}

/**
 * The certs.d folders, in the order in which they are searched: the user's own for Podman (containers-certs.d(5)) and
 * for rootless Docker, then the machine's for Podman and for Docker.
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
 * Reads a host's folder: `*.crt` are CAs, and `NAME.cert` with `NAME.key` is a client certificate. As with Podman, only
 * the first folder found counts. It is named after the registry as references write it, with the port where they have
 * one.
 *
 * @returns undefined when there is no folder.
 * @throws AirgapError `FILE`, with the file's name, for anything unreadable, damaged or incomplete.
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

/** The names that a host's folder can have. None for a host that could lead out of the parent folder. */
export function folderNames(url: URL): string[] {
  const host = url.hostname.toLowerCase()
  if (!/^(?:\[[0-9a-f:.]+\]|[a-z0-9_][a-z0-9_.-]*)$/.test(host)) return []
  const port = portOf(url)
  const names = url.port === '' ? [host, `${host}:${port}`] : [`${host}:${port}`]
  // References say docker.io, so users name the folder docker.io.
  return url.port === '' && isDockerHub(host) ? ['docker.io', ...names] : names
}

/** The names in a folder, sorted; undefined where there is no such folder, or we may not read it. */
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
    // Podman also continues here: a folder that only root may read is not meant for other users.
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
    warnings.push(`there are several client certificates in ${folder}: using ${pair.cert}`)
  }
  const { text: cert } = await readCertsFile(pair.cert, 'client certificate')
  const { text: key, mode } = await readCertsFile(pair.key, 'client key')
  checkKeyPair(cert, key, pair)
  if ((mode & 0o006) !== 0) {
    warnings.push(`every user of this machine can read or change the private key ${pair.key} (chmod 600)`)
  }
  return { tls: { ca, cert, key, files: { ca: caFiles, cert: pair.cert } }, warnings }
}

/** @throws AirgapError `FILE` where one half is missing, mostly because of a wrong file extension. */
function pairsIn(folder: string, names: readonly string[]): { cert: string; key: string }[] {
  const has = new Set(names)
  const path = (name: string): string => join(folder, name)
  const endings = 'A file named *.crt is a CA. A client certificate is named *.cert, and its key *.key.'
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
 * Reads a file, and follows links, which mounted secrets have. A pipe or device is refused before it can block.
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
      throw new AirgapError('FILE', `cannot read the ${what} file ${path}: its symbolic links form a loop`)
    }
    if (code === 'EACCES') {
      throw new AirgapError('FILE', `cannot read the ${what} file ${path}: permission denied`, {
        hint: 'Have it made readable for you, or put your own folder with all needed files into ~/.config/containers/certs.d, which takes precedence.',
        cause: error,
      })
    }
    throw fileError(error, `read the ${what} file`, path)
  }
}

/**
 * Checks that a client certificate and its private key are valid and belong together: the error of a connection would
 * name neither.
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
      {
        hint: 'In the .cert file, the client certificate itself must come first, followed by those of its CAs.',
      },
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
      hint: 'Save it without a password, readable only by you: openssl pkey -in FILE -out client.key && chmod 600 client.key',
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
