import { createCipheriv, createHash } from 'node:crypto'
import { access, chmod, copyFile, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fetchBusybox, type Architecture } from './debian.ts'
import { CHART, SPECS, type ImageSpec } from './images.ts'
import { run } from './processes.ts'
import { startDockerRegistry } from './registries.ts'
import { cacheFolder } from './scratch.ts'

/**
 * The store of a docker-registry that holds all the images. Made once for each state of the files that say how;
 * later runs find it in the folder for temporary files. To be served read-only.
 */
export async function imageStore(): Promise<string> {
  const sources = ['build-images.ts', 'debian.ts', 'images.ts'].map((name) => join(import.meta.dirname, name))
  const hash = createHash('sha256')
  for (const file of sources) hash.update(await readFile(file))
  const store = join(await cacheFolder(), hash.digest('hex').slice(0, 16))
  const isMade = await access(store).then(
    () => true,
    () => false,
  )
  if (isMade) return store
  const work = `${store}.${process.pid}`
  await rm(work, { recursive: true, force: true })
  await mkdir(join(work, 'store'), { recursive: true })
  try {
    await fillStore(work)
    await rename(join(work, 'store'), store)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return store
}

async function fillStore(work: string): Promise<void> {
  const layout = join(work, 'layout')
  const busybox = await fetchBusybox(join(work, 'debian'))
  await run('umoci', ['init', '--layout', layout])
  for (const architecture of ['amd64', 'arm64'] as const) {
    await makeBase(work, layout, architecture, busybox[architecture])
  }
  await using registry = await startDockerRegistry({ store: join(work, 'store'), scratch: work })
  for (const spec of SPECS) {
    if (spec.architectures === 'both') await pushList(work, layout, registry.host, spec)
    else await pushImage(work, layout, `${registry.host}/${spec.reference}`, spec, 'amd64')
  }
  await pushChart(work, registry.host)
}

/** A root file system of busybox alone, as `layout:base-ARCHITECTURE`. */
async function makeBase(
  work: string,
  layout: string,
  architecture: Architecture,
  busybox: string,
): Promise<void> {
  const bin = join(work, `root-${architecture}`, 'bin')
  await mkdir(bin, { recursive: true })
  await copyFile(busybox, join(bin, 'busybox'))
  await chmod(join(bin, 'busybox'), 0o755)
  await symlink('busybox', join(bin, 'sh'))
  const image = `${layout}:base-${architecture}`
  await run('umoci', ['new', '--image', image])
  await run('umoci', ['insert', '--image', image, bin, '/bin'])
  await run('umoci', [
    'config',
    '--image',
    image,
    '--os',
    'linux',
    '--architecture',
    architecture,
    '--config.entrypoint',
    '/bin/busybox',
    '--config.cmd',
    'uname',
  ])
}

/** Builds the image for one platform and pushes it. */
async function pushImage(
  work: string,
  layout: string,
  to: string,
  spec: ImageSpec,
  architecture: Architecture,
): Promise<void> {
  const tag = `${spec.reference.replaceAll(/[^a-z0-9]+/g, '-')}-${architecture}`
  const image = `${layout}:${tag}`
  const label = ['--config.label', `org.example.image=${spec.reference}`]
  await run('umoci', ['config', '--image', `${layout}:base-${architecture}`, '--tag', tag, ...label])
  for (let layer = 1; layer <= (spec.extraLayers ?? 0); layer += 1) {
    await addFile(work, image, `layer-${layer}`, Buffer.from(`layer ${layer}\n`))
  }
  if (spec.filler !== undefined) await addFile(work, image, 'filler', incompressible(spec.filler))
  const source = spec.zstd ? await withZstd(work, image) : `oci:${image}`
  const flags = ['--quiet', '--dest-tls-verify=false', '--format', spec.format]
  // Otherwise skopeo may put the gzip form in the place of a zstd layer that holds the same.
  if (spec.zstd) flags.push('--preserve-digests')
  await run('skopeo', ['copy', ...flags, source, `docker://${to}`])
}

/** skopeo compresses only what is not compressed yet, so it takes two steps. */
async function withZstd(work: string, image: string): Promise<string> {
  const plain = `dir:${join(work, 'plain')}`
  const zstd = `oci:${join(work, 'zstd')}:zstd`
  await run('skopeo', ['copy', '--quiet', '--dest-decompress', `oci:${image}`, plain])
  await run('skopeo', ['copy', '--quiet', '--dest-compress-format', 'zstd', plain, zstd])
  return zstd
}

async function addFile(work: string, image: string, name: string, bytes: Uint8Array): Promise<void> {
  const file = join(work, name)
  await writeFile(file, bytes)
  await run('umoci', ['insert', '--image', image, file, `/srv/${name}`])
}

function incompressible(size: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(size))
}

async function pushList(work: string, layout: string, host: string, spec: ImageSpec): Promise<void> {
  const storage = [
    '--storage-driver',
    'vfs',
    '--root',
    join(work, 'buildah'),
    '--runroot',
    join(work, 'buildah-run'),
  ]
  const list = spec.reference.replaceAll(/[^a-z0-9]+/g, '-')
  const buildah = (...args: string[]): Promise<string> => run('buildah', [...storage, 'manifest', ...args])
  await buildah('create', list)
  for (const architecture of ['amd64', 'arm64'] as const) {
    const child = `${host}/${spec.reference}-${architecture}`
    await pushImage(work, layout, child, spec, architecture)
    await buildah('add', '--tls-verify=false', list, `docker://${child}`)
  }
  const flags = ['--all', '--quiet', '--tls-verify=false', '--format', spec.format]
  await buildah('push', ...flags, list, `docker://${host}/${spec.reference}`)
}

/** An artifact: a chart as Helm pushes it. */
async function pushChart(work: string, host: string): Promise<void> {
  const chart = 'apiVersion: v2\nname: demo\nversion: 0.1.0\n'
  await mkdir(join(work, 'demo'))
  await writeFile(join(work, 'demo/Chart.yaml'), chart)
  await run('tar', ['-C', work, '-czf', join(work, 'demo.tgz'), 'demo'])
  const colon = CHART.lastIndexOf(':')
  const url = `http://${host}/v2/${CHART.slice(0, colon)}`
  const config = await pushBlob(url, Buffer.from('{"name":"demo","version":"0.1.0","apiVersion":"v2"}'))
  const layer = await pushBlob(url, await readFile(join(work, 'demo.tgz')))
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', ...config },
    layers: [{ mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', ...layer }],
    annotations: { 'org.opencontainers.image.title': 'demo' },
  })
  const headers = { 'content-type': mediaType }
  await expectStatus(
    201,
    await fetch(`${url}/manifests/${CHART.slice(colon + 1)}`, { method: 'PUT', headers, body: manifest }),
  )
}

async function pushBlob(url: string, bytes: Buffer): Promise<{ digest: string; size: number }> {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  const session = await fetch(`${url}/blobs/uploads/`, { method: 'POST' })
  await expectStatus(202, session)
  const location = new URL(session.headers.get('location') ?? '', url)
  location.searchParams.set('digest', digest)
  await expectStatus(201, await fetch(location, { method: 'PUT', body: new Uint8Array(bytes) }))
  return { digest, size: bytes.length }
}

async function expectStatus(status: number, response: Response): Promise<void> {
  if (response.status !== status)
    throw new Error(`${response.url}: ${response.status} ${await response.text()}`)
}
