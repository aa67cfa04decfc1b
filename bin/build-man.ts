// Writes docs/man/airgap.1 and docs/cli.md from what the commands say of themselves: npm run man
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { manuals } from './manuals.ts'

const root = join(import.meta.dirname, '..')
await mkdir(join(root, 'docs/man'), { recursive: true })
for (const [path, text] of await manuals(root)) {
  await writeFile(join(root, path), text)
  process.stdout.write(`${path}\n`)
}
