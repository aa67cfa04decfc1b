import { readFileSync } from 'node:fs'
import { getAsset, isSea } from 'node:sea'

/** This tool's name and version, as in every bundle and receipt that it writes. */
export const TOOL: { name: string; version: string } = (() => {
  const { name, version } = JSON.parse(readPackageFile('package.json')) as { name: string; version: string }
  return { name, version }
})()

/**
 * Reads a text file of this package. In the single executable, which has no files, it is the asset of the same name.
 *
 * @param path from the package's root.
 */
export function readPackageFile(path: string): string {
  if (isSea()) return getAsset(path, 'utf8')
  return readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
}
