import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { standIns } from '../../../fixtures/images/index.ts'
import { startRegistry } from '../../support/registry/registry.ts'

/**
 * Runs in a network namespace where a cloud answers its machine on 169.254.169.254, and `metadata.internal` leads there:
 * starts the cloud and a registry that sends its clients to that name, runs airgap in all the ways that could follow, and
 * prints how each ended and what the cloud has seen. Arguments: the command line of airgap.
 */
const [program = '', ...first] = process.argv.slice(2)
const seen: string[] = []
const cloud = createServer((request, response) => {
  seen.push(`${request.method} ${request.url}`)
  response.end('the secrets of this machine')
})
cloud.listen(80, '169.254.169.254')
await once(cloud, 'listening')

const TO = { location: 'http://metadata.internal/latest/meta-data/iam/security-credentials/' }
let trap: RegExp | undefined
const { store } = await standIns()
await using registry = await startRegistry({
  store,
  front: async ({ method, path }) => {
    if (trap?.test(`${method} ${path}`) !== true) return undefined
    return { status: method === 'POST' ? 202 : 307, headers: TO }
  },
})

async function run(...args: string[]): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(program, [...first, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  const [stderr] = await Promise.all([text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, stderr }
}

const image = `${registry.host}/registry.k8s.io/pause:3.10.2`
const pack = (output: string): string[] => ['pack', image, '-o', output, '--no-sign']
const ends: Record<string, Awaited<ReturnType<typeof run>>> = { whole: await run(...pack('whole.tar')) }
const TRAPS = {
  manifest: [/^GET .*\/manifests\//, ['resolve', image]],
  blob: [/^GET .*\/blobs\//, pack('blob.tar')],
  upload: [/^POST /, ['push', 'whole.tar', `${registry.host}/new`, '--allow-unsigned']],
} as const
for (const [name, [pattern, args]] of Object.entries(TRAPS)) {
  trap = pattern
  ends[name] = await run(...args)
}
cloud.close()
console.log(JSON.stringify({ ends, seen }))
