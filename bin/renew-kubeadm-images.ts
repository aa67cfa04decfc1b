/**
 * Renews src/inputs/kubeadm-images.json from kubeadm's own output, each release by the kubeadm of that release.
 *
 *   npm run kubeadm-images -- --kubeadm BINARY    runs a kubeadm for its own release (repeatable)
 *   npm run kubeadm-images -- FILE...             what one has printed elsewhere, its version before the list:
 *     (v=$(kubeadm version -o short); echo $v; kubeadm config images list --kubernetes-version $v) > FILE
 */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { AirgapError } from '../src/errors.ts'
import { addRelease, readKubeadmOutput, type KubeadmRelease } from '../src/inputs/kubeadm-table.ts'
import type { KubeadmTable } from '../src/inputs/kubeadm.ts'

const TABLE = join(import.meta.dirname, '../src/inputs/kubeadm-images.json')
const run = promisify(execFile)

const { values, positionals } = parseArgs({
  options: { kubeadm: { type: 'string', multiple: true } },
  allowPositionals: true,
})
const releases: KubeadmRelease[] = []
try {
  for (const file of positionals) releases.push(readKubeadmOutput(await readFile(file, 'utf8'), file))
  for (const binary of values.kubeadm ?? []) {
    const version = (await run(binary, ['version', '-o', 'short'])).stdout.trim()
    const list = await run(binary, ['config', 'images', 'list', '--kubernetes-version', version])
    releases.push(readKubeadmOutput(`${version}\n${list.stdout}`, binary))
  }
} catch (error) {
  if (!(error instanceof Error)) throw error
  const hint = error instanceof AirgapError ? error.hint : undefined
  process.stderr.write(`Error: ${error.message}\n${hint === undefined ? '' : `${hint}\n`}`)
  process.exit(1)
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
