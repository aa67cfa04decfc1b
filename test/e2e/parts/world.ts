import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Airgap, type LockedImage } from './airgap.ts'
import { imageStore } from './build-images.ts'
import { makeCertificates, type Certificates } from './certificates.ts'
import { PUBLIC_HOSTS } from './images.ts'
import { startDockerRegistry, writeAuthFile, type Registry } from './registries.ts'
import { scratch } from './scratch.ts'
import type { Part } from './tools.ts'

/** What {@link openWorld} needs. */
export const WORLD_PARTS: readonly Part[] = [
  'apt-get',
  'dpkg-deb',
  'setpriv',
  'openssl',
  'htpasswd',
  'tar',
  'docker-registry',
  'skopeo',
  'umoci',
  'buildah',
]

export interface World extends AsyncDisposable {
  folder: string
  certificates: Certificates
  /** Holds all images; TLS by a private authority, and a password. */
  source: Registry
  airgap: Airgap
  privateKey: string
  publicKey: string
  /** Docker's credentials file, for the source and for all that were started by `target`. */
  authFile: string
  /** A second registry of the same kind, empty. Ends with the world. */
  target: () => Promise<Registry>
  /** Adds a host to the credentials file. */
  allow: (host: string) => Promise<void>
  /** The flags that make a host stand for the internet: its CA, credentials and mirrors. */
  reading: (host?: string) => string[]
  /** The flags to write to a registry of ours. */
  writing: string[]
  path: (name: string) => string
  /** Pins and packs images under `NAME.lock` and `NAME.tar`, signed. */
  pack: (name: string, images: readonly string[], ...flags: string[]) => Promise<Packed>
}

export interface Packed {
  lockFile: string
  bundle: string
  images: LockedImage[]
}

/** The connected side: a registry full of images, a key pair, and a command line that may read there. */
export async function openWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack()
  const store = await imageStore()
  const { path: folder } = stack.use(await scratch())
  const path = (name: string): string => join(folder, name)
  const certificates = await makeCertificates(folder)
  const source = stack.use(
    await startDockerRegistry({ store, scratch: folder, certificates, readOnly: true }),
  )
  const authFile = path('auth.json')
  const hosts: string[] = []
  const allow = async (host: string): Promise<void> => {
    hosts.push(host)
    await writeAuthFile(authFile, hosts)
  }
  await allow(source.host)
  const airgap = new Airgap(folder)
  await airgap.run('keygen')

  const registryFlags = ['--ca-file', certificates.ca, '--auth-file', authFile]
  const reading = (host = source.host): string[] => [
    ...registryFlags,
    ...PUBLIC_HOSTS.flatMap((name) => ['--mirror', `${name}=${host}/${name}`]),
  ]
  const moved = stack.move()
  return {
    folder,
    certificates,
    source,
    airgap,
    privateKey: path('airgap.key'),
    publicKey: path('airgap.pub'),
    authFile,
    path,
    allow,
    reading,
    writing: registryFlags,
    async target() {
      const targetStore = path(`target-${hosts.length}`)
      await mkdir(targetStore)
      const target = moved.use(
        await startDockerRegistry({ store: targetStore, scratch: folder, certificates }),
      )
      await allow(target.host)
      return target
    },
    async pack(name, images, ...flags) {
      const lockFile = path(`${name}.lock`)
      const bundle = path(`${name}.tar`)
      await airgap.run(
        'resolve',
        ...images,
        '-o',
        lockFile,
        '--resolve-from',
        'mirror',
        ...reading(),
        ...flags,
      )
      await airgap.run('pack', '--lock', lockFile, '-o', bundle, '--key', path('airgap.key'), ...reading())
      const lock = JSON.parse(await readFile(lockFile, 'utf8')) as { images: LockedImage[] }
      return { lockFile, bundle, images: lock.images }
    },
    [Symbol.asyncDispose]: () => moved[Symbol.asyncDispose](),
  }
}
