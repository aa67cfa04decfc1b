import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
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
 * The Node.js to build around: the file given, or the locked package of that architecture, of the version that runs
 * this. What is embedded is made by the running Node.js, so the two have to be of one version.
 *
 * @param scratch folder where packages are installed that `root` does not have.
 * @throws Error when the file is for another architecture or version, or has no LICENSE.
 */
export async function findNode(
  arch: Architecture,
  file: string | undefined,
  scratch: string,
  root = ROOT,
): Promise<NodeBinary> {
  const path = file ?? join(await nodePackage(arch, scratch, root), 'bin/node')
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
 * The folder of the npm package that holds Node.js for an architecture: what `npm ci` has installed for this machine, or
 * else what it installs into `scratch`. Either way npm holds it to the SHA-512 in the lock file, and runs no script of it.
 *
 * @throws Error when the lock file has another version than the one that runs this, or npm refuses.
 */
async function nodePackage(arch: Architecture, scratch: string, root: string): Promise<string> {
  const name = `node-linux-${arch}`
  const folder = `node_modules/${name}`
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as Lock
  const { version, integrity } = lock.packages[folder] ?? {}
  if (version !== process.versions.node || integrity === undefined) {
    throw new Error(
      `package-lock.json has ${name} ${version ?? 'in no version'}, and Node.js ${process.versions.node} runs this: build with node_modules/.bin/node, or give --node FILE`,
    )
  }
  if (await hasVersion(join(root, folder), version)) return join(root, folder)
  process.stderr.write(`Fetching ${name} ${version}\n`)
  const project = join(scratch, name)
  await mkdir(project)
  const dependencies = { [name]: version }
  // Without the machine that it is for, which may not be this one.
  const packages = { '': { dependencies }, [folder]: { version, integrity } }
  await writeFile(join(project, 'package.json'), JSON.stringify({ dependencies }))
  await writeFile(join(project, 'package-lock.json'), JSON.stringify({ ...lock, packages }))
  const install = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', project]
  await promisify(execFile)('npm', install, { cwd: project })
  return join(project, folder)
}

interface Lock {
  packages: Record<string, { version?: string; integrity?: string }>
}

async function hasVersion(folder: string, version: string): Promise<boolean> {
  try {
    const found = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string }
    return found.version === version
  } catch {
    return false
  }
}
