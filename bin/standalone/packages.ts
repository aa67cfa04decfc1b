import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Metafile } from 'esbuild'
import { ROOT } from './root.ts'

/** An npm package of which code is in the executable. */
export interface BundledPackage {
  name: string
  version: string
  /** An SPDX identifier or expression. */
  license: string
  /** As the lock file has it: `sha512-` and base64. */
  integrity: string
  /** The text of each licence and notice file. */
  licenseTexts: string[]
  /** Folders of the packages that it imports. */
  imports: string[]
}

/** Files of this project. */
const OURS = /^(?:src|bin)\/|^package\.json$/
const PACKAGE_FOLDER = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/
const LICENSE_FILE = /^(?:licen[cs]e|copying|notice)(?:[.-].*)?$/i

/**
 * What esbuild says is in the bundles, by folder, in the order of names. The packages that this project itself
 * imports stand under the empty folder's name.
 *
 * @throws Error when a package has no licence text, or is not in the lock file.
 */
export async function bundledPackages(
  metafiles: readonly Metafile[],
  root = ROOT,
): Promise<Map<string, BundledPackage>> {
  const imports = importsByFolder(metafiles)
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { integrity?: string }>
  }
  const folders = [...imports.keys()].filter(Boolean).toSorted()
  const manifests = await Promise.all(folders.map((folder) => readManifest(root, folder)))
  const packages = new Map<string, BundledPackage>()
  for (const { folder, name, version, license, repository, licenseTexts } of manifests) {
    const integrity = lock.packages[folder]?.integrity
    if (integrity === undefined) throw new Error(`${folder} is not in package-lock.json`)
    // Of several packages out of one repository, not every one brings along the licence that is in its root.
    const kin = manifests.find(
      (other) =>
        repository !== undefined &&
        other.repository === repository &&
        other.license === license &&
        other.licenseTexts.length > 0,
    )
    const texts = licenseTexts.length > 0 ? licenseTexts : kin?.licenseTexts
    if (license === undefined || !texts) throw new Error(`${folder} comes without a licence`)
    packages.set(folder, {
      name,
      version,
      license,
      integrity,
      licenseTexts: texts,
      imports: [...(imports.get(folder) ?? [])].toSorted(),
    })
  }
  return packages
}

interface Manifest {
  folder: string
  name: string
  version: string
  license: string | undefined
  repository: string | undefined
  licenseTexts: string[]
}

async function readManifest(root: string, folder: string): Promise<Manifest> {
  const path = join(root, folder)
  const { name, version, license, repository } = JSON.parse(
    await readFile(join(path, 'package.json'), 'utf8'),
  ) as { name: string; version: string; license?: string; repository?: string | { url: string } }
  const files = (await readdir(path)).filter((file) => LICENSE_FILE.test(file)).toSorted()
  return {
    folder,
    name,
    version,
    license,
    repository: typeof repository === 'object' ? repository.url : repository,
    licenseTexts: await Promise.all(files.map((file) => readFile(join(path, file), 'utf8'))),
  }
}

/** Which packages of each folder's code are imported; this project's own folder is `''`. */
export function importsByFolder(metafiles: readonly Metafile[]): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const { inputs, outputs } of metafiles) {
    const isInside = new Set(
      Object.values(outputs).flatMap((output) =>
        Object.entries(output.inputs)
          .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
          .map(([path]) => path),
      ),
    )
    for (const path of isInside) {
      const folder = folderOf(path)
      const targets = found.get(folder) ?? new Set()
      found.set(folder, targets)
      for (const { path: target } of inputs[path]?.imports ?? []) {
        if (isInside.has(target) && folderOf(target) !== folder) targets.add(folderOf(target))
      }
    }
  }
  return found
}

function folderOf(path: string): string {
  const folder = PACKAGE_FOLDER.exec(path)?.[0]
  if (folder !== undefined) return folder
  if (OURS.test(path)) return ''
  throw new Error(`${path} is in the bundle and belongs to no package`)
}
