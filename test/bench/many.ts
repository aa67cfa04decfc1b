import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildImage, seedRegistry, seededBytes } from '../../fixtures/images/index.ts'
import { buildLayer } from '../../fixtures/images/content.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import type { RequestLogEntry } from '../../src/serve/registry/request.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { measure } from './measure.ts'

/**
 * `node test/bench/many.ts [IMAGES] [REPOSITORIES]`: a thousand small images that share layers, packed from one
 * registry and pushed to another, both of which want tokens. Prints what was asked of them, and the peak of memory.
 */
const images = Number(process.argv[2] ?? 1000)
const repositories = Number(process.argv[3] ?? images)
const RUN_JS = join(import.meta.dirname, '../../bin/run.js')
/** So many images in turn share a base. */
const BASES = 5

const folder = await mkdtemp(join(tmpdir(), 'airgap-many-'))
try {
  await using source = await startRegistry({ auth: { bearer: {} } })
  await using target = await startRegistry({ auth: { bearer: {} } })
  const lines: string[] = []
  const bases = await Promise.all(
    Array.from({ length: BASES }, (_, i) => buildLayer({ base: seededBytes(`base-${i}`, 20_000) })),
  )
  for (let i = 0; i < images; i++) {
    const built = await buildImage({
      platform: parsePlatform('linux/amd64'),
      base: bases.slice(i % BASES, (i % BASES) + 1),
      files: { own: seededBytes(`own-${i}`, 4000) },
    })
    const name = `team/app-${i % repositories}:${Math.floor(i / repositories)}`
    seedRegistry(source.store, name, built)
    lines.push(`${source.host}/${name}`)
  }
  const list = join(folder, 'list')
  await writeFile(list, lines.join('\n'))
  const bundle = join(folder, 'bundle.tar')
  const node = `${process.execPath} ${RUN_JS}`
  const env = { ...process.env, HOME: folder }
  const run = async (name: string, script: string, requests: RequestLogEntry[]): Promise<void> => {
    requests.length = 0
    const { seconds, peakMemory } = await measure(`cd ${folder}; ${script}`, { env })
    const kinds = new Map<string, number>()
    for (const { method, path, status } of requests) {
      const kind = `${method} ${kindOf(path)} ${status}`
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    }
    const counts = [...kinds].toSorted(([a], [b]) => a.localeCompare(b))
    process.stdout.write(
      `${name}: ${requests.length} requests, ${seconds.toFixed(1)} s, ${Math.round(peakMemory / 1e6)} MB\n${counts
        .map(([kind, count]) => `  ${String(count).padStart(6)}  ${kind}\n`)
        .join('')}`,
    )
  }
  process.stdout.write(`${images} images in ${repositories} repositories\n`)
  await run('pack', `${node} pack --images-from list -o ${bundle} --no-sign -q`, source.requests)
  const push = `${node} push ${bundle} ${target.host} --path strip-host --allow-unsigned -q`
  await run('push', push, target.requests)
  await run('push again', push, target.requests)
} finally {
  await rm(folder, { recursive: true, force: true })
}

function kindOf(path: string): string {
  if (path.includes('/manifests/sha256:')) return 'manifest by digest'
  if (path.includes('/referrers/')) return 'list of referrers'
  if (/\.(?:sig|att|sbom)$/.test(path)) return "cosign's tag"
  if (path.includes('/manifests/')) return 'manifest by tag'
  if (path.includes('/blobs/uploads/')) return 'upload'
  return path.includes('/blobs/') ? 'blob' : path
}
