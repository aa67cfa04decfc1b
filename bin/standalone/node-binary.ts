import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { sha256 } from './checksums.ts'
import { ARCHITECTURES, type Architecture } from './names.ts'
import { ROOT } from './root.ts'

/** A Node.js for Linux to put the program into. */
export interface NodeBinary {
  path: string
  version: string
  license: string
  /** SHA-256, in hexadecimal. */
  sha256: string
}

/**
 * The Node.js to build around: the file given, or the package of that architecture, of the version that runs this.
 * What is embedded is made by the running Node.js, so the two have to be of one version.
 *
 * @throws Error when the file is for another architecture or version, or has no LICENSE.
 */
export async function findNode(arch: Architecture, file: string | undefined): Promise<NodeBinary> {
  const path = file ?? join(await nodePackage(arch), 'bin/node')
  const bytes = await readFile(path)
  const isElf = bytes.subarray(0, 6).equals(Buffer.from('\x7fELF\x02\x01', 'latin1'))
  if (!isElf || bytes.readUInt16LE(18) !== ARCHITECTURES[arch]) {
    throw new Error(`${path} is not a program for Linux on ${arch}`)
  }
  if (!bytes.includes(`node.js/${process.version}\0`)) {
    throw new Error(`${path} is not Node.js ${process.version}, which runs this`)
  }
  // As Node's archives have it: bin/node, and LICENSE beside bin.
  const license = await readFile(join(dirname(path), '../LICENSE'), 'utf8').catch((error: unknown) => {
    throw new Error(`${path} has to lie as in Node's archives, with LICENSE beside bin`, { cause: error })
  })
  return { path, version: process.versions.node, license, sha256: sha256(bytes) }
}

/**
 * The folder of the npm package that holds Node.js for an architecture. The package `node` installs the one for this
 * machine below itself, where a later `npm install` may remove it; then, and for others, it is fetched.
 */
async function nodePackage(arch: Architecture): Promise<string> {
  const name = `node-linux-${arch}`
  const cache = join(ROOT, 'node_modules/.cache/airgap-standalone', process.version, arch)
  for (const root of [join(ROOT, 'node_modules/node'), cache]) {
    const folder = join(root, 'node_modules', name)
    if (await hasVersion(folder, process.versions.node)) return folder
  }
  const wanted = `${name}@${process.versions.node}`
  process.stderr.write(`Fetching ${wanted}\n`)
  const install = ['install', '--prefix', cache, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund']
  // Forced, because it may be for a machine that is not this one.
  await promisify(execFile)('npm', [...install, '--force', wanted])
  return join(cache, 'node_modules', name)
}

async function hasVersion(folder: string, version: string): Promise<boolean> {
  try {
    const found = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string }
    return found.version === version
  } catch {
    return false
  }
}
