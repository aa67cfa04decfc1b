import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Airgap, describeEnd } from './airgap.ts'
import { attempt, run, type Ended } from './processes.ts'
import { scratch } from './scratch.ts'
import { COSIGN_2 } from './tools.ts'

/** Of the keys that cosign makes. */
export const THEIR_PASSWORD = 'theirs-only'

/** cosign of one generation, at work in a folder. */
export function cosignIn(folder: string, generation: 2 | 3 = 3): (...args: string[]) => Promise<Ended> {
  const env = { PATH: process.env['PATH'], HOME: folder, COSIGN_PASSWORD: THEIR_PASSWORD }
  return (...args) => attempt(generation === 2 ? COSIGN_2 : 'cosign', args, { cwd: folder, env })
}

/** Flags of cosign's `sign` commands that keep it from the network. */
export const SIGN_OFFLINE = {
  2: ['--yes', '--tlog-upload=false'],
  3: ['--yes', '--tlog-upload=false', '--use-signing-config=false'],
} as const

/** Flags of `cosign verify-blob` that keep it from the network, for a Sigstore bundle. */
export async function verifyOffline(folder: string, generation: 2 | 3): Promise<string[]> {
  if (generation === 3) return ['--insecure-ignore-tlog']
  const root = join(folder, 'no-root.json')
  await writeFile(root, '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
  return ['--insecure-ignore-tlog', '--new-bundle-format', '--trusted-root', root]
}

/** cosign with a key pair of its own, in a folder that is its home; it never leaves this machine. */
export class Cosign {
  readonly attempt: (...args: string[]) => Promise<Ended>
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
    this.attempt = cosignIn(folder)
  }

  static async withKey(folder: string): Promise<Cosign> {
    const cosign = new Cosign(folder)
    await cosign.run('generate-key-pair')
    return cosign
  }

  async run(...args: string[]): Promise<string> {
    const ended = await this.attempt(...args)
    if (ended.code !== 0) throw new Error(`cosign ${args.join(' ')}\n${describeEnd(ended)}`)
    return ended.stdout
  }

  /** @param layout `tag`: cosign's own tags, as before version 3; `bundle`: a Sigstore bundle that refers to the image. */
  async sign(name: string, layout: 'tag' | 'bundle', ...flags: string[]): Promise<void> {
    await this.run('sign', ...SIGN_OFFLINE[3], ...layoutFlags(layout), '--key', 'cosign.key', ...flags, name)
  }

  async attest(name: string, layout: 'tag' | 'bundle'): Promise<void> {
    await writeFile(join(this.#folder, 'predicate.json'), '{"built":"by us"}')
    const what = ['--type', 'custom', '--predicate', 'predicate.json', '--key', 'cosign.key']
    await this.run('attest', ...SIGN_OFFLINE[3], ...layoutFlags(layout), ...what, name)
  }

  /** Has to find a good signature in that layout. */
  async verify(name: string, layout: 'tag' | 'bundle'): Promise<void> {
    await this.run('verify', ...CHECKING, ...layoutFlags(layout), '--key', 'cosign.pub', name)
  }

  async verifyAttestation(name: string, layout: 'tag' | 'bundle'): Promise<void> {
    const what = ['--type', 'custom', '--key', 'cosign.pub', name]
    await this.run('verify-attestation', ...CHECKING, ...layoutFlags(layout), ...what)
  }
}

const CHECKING = ['--insecure-ignore-tlog']

function layoutFlags(layout: 'tag' | 'bundle'): string[] {
  return [`--new-bundle-format=${layout === 'bundle'}`]
}

/** A folder with `airgap.key` and `cosign.key`, and the two programs at work there. */
export async function openCosignWorld(): Promise<
  AsyncDisposable & { folder: string; airgap: Airgap; cosign: Cosign }
> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await scratch()).path
  const airgap = new Airgap(folder)
  const cosign = await Cosign.withKey(folder)
  await airgap.run('keygen')
  const ready = stack.move()
  return { folder, airgap, cosign, [Symbol.asyncDispose]: () => ready.disposeAsync() }
}

/** An image for two platforms, made of nothing but a file each. @returns its digest. */
export async function buildWithCrane(folder: string, name: string): Promise<string> {
  await writeFile(join(folder, 'file'), 'content')
  await run('tar', ['-C', folder, '-cf', join(folder, 'layer.tar'), 'file'])
  const repository = name.slice(0, name.lastIndexOf(':'))
  const children: string[] = []
  for (const arch of ['amd64', 'arm64']) {
    const child = `${repository}:${arch}`
    await run('crane', ['append', '--oci-empty-base', '-f', join(folder, 'layer.tar'), '-t', child])
    await run('crane', ['mutate', '--set-platform', `linux/${arch}`, '-t', child, child])
    children.push('-m', child)
  }
  await run('crane', ['index', 'append', ...children, '-t', name])
  return (await run('crane', ['digest', name])).trim()
}
