/**
 * Renews src/intake/kubeadm-images.json from kubeadm's own output.
 *
 *   npm run kubeadm-images -- FILE...             files that hold what `kubeadm config images list` printed
 *   npm run kubeadm-images -- --kubeadm BINARY    runs a kubeadm for its own release (repeatable)
 */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { addRelease, readKubeadmOutput, type KubeadmRelease } from '../src/intake/kubeadm-table.ts'
import type { KubeadmTable } from '../src/intake/kubeadm.ts'

const TABLE = join(import.meta.dirname, '../src/intake/kubeadm-images.json')
const run = promisify(execFile)

const { values, positionals } = parseArgs({
  options: { kubeadm: { type: 'string', multiple: true } },
  allowPositionals: true,
})
const releases: KubeadmRelease[] = []
for (const file of positionals) releases.push(readKubeadmOutput(await readFile(file), file))
for (const binary of values.kubeadm ?? []) {
  const { stdout: version } = await run(binary, ['version', '-o', 'short'])
  const list = ['config', 'images', 'list', '--kubernetes-version', version.trim()]
  releases.push(
    readKubeadmOutput(Buffer.from((await run(binary, list)).stdout), `${binary} ${list.join(' ')}`),
  )
}
if (releases.length === 0) {
  process.stderr.write('Usage: npm run kubeadm-images -- [FILE...] [--kubeadm BINARY]...\n')
  process.exit(2)
}
releases.sort((a, b) => a.minor.localeCompare(b.minor, 'en', { numeric: true }) || a.patch - b.patch)

const before = await readFile(TABLE, 'utf8')
let table = JSON.parse(before) as KubeadmTable
for (const release of releases) table = addRelease(table, release)
const after = `${JSON.stringify(table, null, 1)}\n`
await writeFile(TABLE, after)
const what = releases.map(({ minor, patch }) => `v${minor}.${patch}`).join(', ')
process.stdout.write(`${what}: ${after === before ? 'nothing new' : 'written to the table'}\n`)
