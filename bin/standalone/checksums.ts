import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const SUMS = 'SHA256SUMS'

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Writes `SHA256SUMS` over everything else in the folder, for `sha256sum -c`. */
export async function writeChecksums(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith(SUMS)).toSorted()
  const lines: string[] = []
  for (const name of names) lines.push(`${sha256(await readFile(join(folder, name)))}  ${name}\n`)
  await writeFile(join(folder, SUMS), lines.join(''))
}
