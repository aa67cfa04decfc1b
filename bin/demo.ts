/**
 * The main job from end to end, as `npm run demo` shows it: two embedded registries on loopback stand in for the
 * internet and for the private registry, and the commands run as a user would type them.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { copyFile, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { styleText } from 'node:util'
import { standIns } from '../fixtures/images/index.ts'
import { shellWord } from '../src/text.ts'
import { digestOf, type Digest } from '../src/oci/digest.ts'
import { parseManifest } from '../src/oci/manifest.ts'
import { ACCEPTED_MANIFESTS } from '../src/oci/media-types.ts'
import { parseReference } from '../src/oci/reference.ts'
import type { MemoryStore } from '../test/support/registry/memory-store.ts'
import { startRegistry } from '../test/support/registry/registry.ts'

const RELEASE = 'v1.36.3'
const BUNDLE = 'airgap-demo.tar'
const run = join(import.meta.dirname, 'run.js')

const folder = await mkdtemp(join(tmpdir(), 'airgap-demo-'))
const { store, references } = await standIns({ kubernetesVersion: RELEASE })
await using internet = await startRegistry({ store })
await using inside = await startRegistry()
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => {
    rmSync(folder, { recursive: true, force: true })
    process.exit(130)
  })
}
try {
  await show()
} finally {
  await rm(folder, { recursive: true, force: true })
}

async function show(): Promise<void> {
  const kube = ['--kubeadm', RELEASE]
  const others = references.filter((reference) => !reference.startsWith('registry.k8s.io/'))
  const hosts = ['registry.k8s.io', 'docker.io', 'ghcr.io']
  const mirrors = hosts.flatMap((host) => ['--mirror', `${host}=${internet.host}/${host}`])
  const platforms = ['--platform', 'linux/amd64', '--platform', 'linux/arm64']

  say(
    `A registry at ${internet.host} stands in for the internet. Its images are small stand-ins under`,
    'the names of real ones; nothing is fetched from outside. A second, empty registry at',
    `${inside.host} stands in for the private one. The key's password comes from AIRGAP_PASSWORD.`,
  )
  say('On the connected side: make a key pair, see what is meant, pack it into one signed file.')
  await airgap('keygen')
  await airgap('list', ...kube, ...others)
  await airgap(
    'pack',
    ...kube,
    ...others,
    ...platforms,
    ...mirrors,
    '--resolve-from',
    'mirror',
    '-o',
    BUNDLE,
    '--key',
    'airgap.key',
  )
  say('Anybody can look into the file; an auditor checks it with the public key, without a network.')
  await airgap('inspect', BUNDLE)
  await airgap('verify', BUNDLE, '--key', 'airgap.pub')
  say('On the isolated side: verify again, and put everything into the private registry.')
  await airgap('push', BUNDLE, inside.host, '--key', 'airgap.pub', '--receipt', 'receipt.json')
  say('Once more: nothing is sent twice.')
  await airgap('push', BUNDLE, inside.host, '--key', 'airgap.pub', '--receipt', 'again.json', '--dry-run')

  say('Did it arrive? The tags are read from the private registry, and every blob is compared byte by byte.')
  const arrived = await proveArrival()
  await keepBundle()
  say(
    `All of it: ${arrived.tags} tags, ${arrived.blobs} blobs, ${arrived.bytes} bytes equal to their sources.`,
  )
  say(
    `The bundle is here for you to look at: ${BUNDLE} (tar -tvf ${BUNDLE}). Nothing else was left behind.`,
    'Next, with registries of your own:',
    '',
    '  npx airgap keygen',
    `  npx airgap pack --kubeadm ${RELEASE} --platform linux/amd64 -o k8s.tar --key airgap.key`,
    '  npx airgap verify k8s.tar --key airgap.pub',
    '  npx airgap push k8s.tar registry.internal:5000 --key airgap.pub --dry-run',
  )
}

function say(...lines: string[]): void {
  process.stdout.write(`\n${lines.map((line) => style('cyan', line)).join('\n')}\n`)
}

function style(format: 'cyan' | 'bold', text: string): string {
  return process.stdout.isTTY && !process.env.NO_COLOR
    ? styleText(format, text, { validateStream: false })
    : text
}

/** Prints the command as one would type it, then runs it with its output shown. */
async function airgap(...args: string[]): Promise<void> {
  process.stdout.write(`\n${style('bold', `$ airgap ${args.map(shellWord).join(' ')}`)}\n`)
  const child = spawn(process.execPath, [run, ...args], {
    cwd: folder,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, AIRGAP_PASSWORD: 'demo' },
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`airgap ${args[0]} ended with ${code}`)
}

/** Reads everything back over HTTP and compares it with the source's store. */
async function proveArrival(): Promise<{ tags: number; blobs: number; bytes: number }> {
  const seen = new Set<string>()
  let bytes = 0
  for (const reference of references) {
    const { registry, repository, tag } = parseReference(reference)
    const path = `${registry}/${repository}`
    const root = await get(`/v2/${path}/manifests/${tag}`)
    process.stdout.write(`  ${inside.host}/${path}:${tag}\n      ${digestOf(root)}\n`)
    bytes += await compare(path, root, store, seen)
  }
  return { tags: references.length, blobs: seen.size, bytes }
}

async function compare(path: string, bytes: Buffer, source: MemoryStore, seen: Set<string>): Promise<number> {
  const document = parseManifest(bytes, path)
  let compared = 0
  if (document.kind === 'index') {
    for (const child of document.manifests) {
      const manifest = await get(`/v2/${path}/manifests/${child.digest}`)
      if (digestOf(manifest) !== child.digest) throw new Error(`${path}: ${child.digest} arrived altered`)
      compared += await compare(path, manifest, source, seen)
    }
    return compared
  }
  for (const { digest } of [document.config, ...document.layers]) {
    const blob = await get(`/v2/${path}/blobs/${digest}`)
    const original = await sourceBlob(source, path, digest)
    if (!blob.equals(original)) throw new Error(`${path}: ${digest} arrived altered`)
    if (!seen.has(digest)) compared += blob.length
    seen.add(digest)
  }
  return compared
}

async function sourceBlob(source: MemoryStore, path: string, digest: Digest): Promise<Buffer> {
  const blob = source.blob(path, digest)
  if (!blob) throw new Error(`${path}: the source does not have ${digest}`)
  const parts: Uint8Array[] = []
  for await (const part of blob.read(0, blob.size)) parts.push(part)
  return Buffer.concat(parts)
}

async function get(path: string): Promise<Buffer> {
  const response = await fetch(`${inside.url}${path}`, { headers: { accept: ACCEPTED_MANIFESTS } })
  if (!response.ok) throw new Error(`GET ${path}: ${response.status}`)
  return Buffer.from(await response.arrayBuffer())
}

/** The bundle moves from the scratch folder to the present one; across file systems that is a copy. */
async function keepBundle(): Promise<void> {
  await rename(join(folder, BUNDLE), BUNDLE).catch(() => copyFile(join(folder, BUNDLE), BUNDLE))
}
