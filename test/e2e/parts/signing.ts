import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeEnd } from './airgap.ts'
import { attempt, run, type Ended } from './processes.ts'

/** cosign with a key pair of its own, in a folder that is its home; it never leaves this machine. */
export class Cosign {
  readonly #folder: string
  readonly #env: NodeJS.ProcessEnv

  private constructor(folder: string) {
    this.#folder = folder
    this.#env = { PATH: process.env['PATH'], HOME: folder, COSIGN_PASSWORD: 'theirs' }
  }

  static async withKey(folder: string): Promise<Cosign> {
    const cosign = new Cosign(folder)
    await cosign.run('generate-key-pair')
    return cosign
  }

  attempt(...args: string[]): Promise<Ended> {
    return attempt('cosign', args, { cwd: this.#folder, env: this.#env })
  }

  async run(...args: string[]): Promise<string> {
    const ended = await this.attempt(...args)
    if (ended.code !== 0) throw new Error(`cosign ${args.join(' ')}\n${describeEnd(ended)}`)
    return ended.stdout
  }

  /** @param layout `tag`: cosign's own tags, as before version 3; `bundle`: a Sigstore bundle that refers to the image. */
  async sign(name: string, layout: 'tag' | 'bundle', ...flags: string[]): Promise<void> {
    await this.run('sign', ...OFFLINE, ...layoutFlags(layout), '--key', 'cosign.key', ...flags, name)
  }

  async attest(name: string, layout: 'tag' | 'bundle'): Promise<void> {
    await writeFile(join(this.#folder, 'predicate.json'), '{"built":"by us"}')
    const what = ['--type', 'custom', '--predicate', 'predicate.json', '--key', 'cosign.key']
    await this.run('attest', ...OFFLINE, ...layoutFlags(layout), ...what, name)
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

const OFFLINE = ['--tlog-upload=false', '--use-signing-config=false', '--yes']
const CHECKING = ['--insecure-ignore-tlog']

function layoutFlags(layout: 'tag' | 'bundle'): string[] {
  return [`--new-bundle-format=${layout === 'bundle'}`]
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
