/**
 * Serves a bundle for as long as a test takes, and pulls a manifest from it: a registry on a free port that needs no
 * installation and has exactly what was approved.
 *
 *     node docs/examples/serve.ts bundle.tar airgap.pub
 */
import { createHash } from 'node:crypto'
import { serve } from 'airgap'

const [bundle, key] = process.argv.slice(2)
if (bundle === undefined || key === undefined) {
  console.error('usage: serve.ts BUNDLE PUBLIC-KEY')
  process.exit(2)
}

// Ends the server and closes the file when this block ends, however it ends.
await using served = await serve([bundle], {
  keys: [key],
  listen: { host: '127.0.0.1', port: 0 },
  onRequest: ({ method, path, status }) => console.log(`  ${method} ${path} ${status}`),
})
console.log(`serving ${served.images.length} images at ${served.url}`)

for (const { source, repository, tag, digest } of served.images) {
  const answer = await fetch(`${served.url}/v2/${repository}/manifests/${tag}`)
  if (!answer.ok) throw new Error(`${source}: ${answer.status} ${answer.statusText}`)
  const bytes = Buffer.from(await answer.arrayBuffer())
  const actual = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  if (actual !== digest) throw new Error(`${source}: ${actual} came, and ${digest} was approved`)
  console.log(`${source} is ${digest}`)
}
