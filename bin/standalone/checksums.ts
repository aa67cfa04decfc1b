import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Writes `SHA256SUMS`, for `sha256sum -c`, over all files in the folder whose names begin with `prefix`. */
export async function writeChecksums(folder: string, prefix: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.startsWith(prefix)).toSorted()
  const lines: string[] = []
  for (const name of names) lines.push(`${sha256(await readFile(join(folder, name)))}  ${name}\n`)
  await writeFile(join(folder, 'SHA256SUMS'), lines.join(''))
}
