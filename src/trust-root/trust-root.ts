import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'
import type { Digest } from '../oci/digest.ts'
import type { NetworkOptions } from '../registry/options.ts'
import { running } from '../content/run.ts'
import { isPlainHttp } from '../registry/services.ts'
import { CACHE, TARGET } from './tuf-task.ts'

/** The TUF repository of the public good instance. */
export const PUBLIC_MIRROR = 'https://tuf-repo-cdn.sigstore.dev'
const MAX_METADATA = 8 * 1024 * 1024

export interface TrustRootOptions extends NetworkOptions {
  /** URL of the TUF repository; the public good instance's where left out. */
  mirror?: string | undefined
  /** File with the initial root of a private instance's repository; the public good instance's where left out. */
  root?: string | undefined
}

/** What a TUF role's metadata says of itself. Times are RFC 3339. */
export interface TufMetadata {
  version: number
  expires: string
  /** Where the repository says how long its signatures are good for. */
  signed?: string
}

/** An authority or log that a trusted root names. Times are RFC 3339. */
export interface TrustedInstance {
  kind: 'certificate authority' | 'certificate log' | 'transparency log' | 'timestamp authority'
  /** Its URL, as the root has it. */
  name: string
  start?: string
  /** Until when it was in use; absent for one that is. */
  end?: string
}

export interface FetchedTrustRoot {
  /** trusted_root.json, byte for byte. */
  bytes: Buffer
  digest: Digest
  mirror: string
  /** The metadata by which it was verified. */
  metadata: Record<'root' | 'timestamp' | 'snapshot' | 'targets', TufMetadata>
  /** What it names, in its order. */
  instances: TrustedInstance[]
}

/**
 * Fetches the trusted root of a Sigstore instance from its TUF repository, verified from a root that is known
 * beforehand (The Update Framework 1.0 § 5). Nothing is left behind.
 *
 * @throws AirgapError `VERIFICATION_FAILED` for a repository that does not verify or has expired; `USAGE`, `FILE`,
 *   `INVALID_CONTENT`, `NETWORK`, `TLS`, `REGISTRY`, `NOT_FOUND`; the signal's reason.
 */
export async function fetchTrustRoot(options: TrustRootOptions = {}): Promise<FetchedTrustRoot> {
  return running(options, async (run) => {
    const mirror = mirrorOf(options)
    const root =
      options.root === undefined ? await publicRoot() : await readSmallFile(options.root, MAX_METADATA)
    const folder = await mkdtemp(join(tmpdir(), 'airgap-trust-root-'))
    try {
      const { credentials: _, ...registries } = options.registries ?? {}
      const { retries, timeout } = options
      const network = { registries, retries, timeout }
      const { fetchTarget } = await import('./tuf.ts')
      await fetchTarget({ mirror, target: TARGET, root, folder, network }, run)
      const { readFetched } = await import('./fetched.ts')
      return await readFetched(join(folder, CACHE), mirror)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
}

function mirrorOf(options: TrustRootOptions): string {
  const text = options.mirror ?? PUBLIC_MIRROR
  const fail = (reason: string): never => {
    throw new AirgapError('USAGE', `the mirror ${text} cannot be used: ${reason}`, {
      hint: 'Give the URL of a TUF repository: https://HOST/PATH, where timestamp.json lies.',
    })
  }
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return fail('it is no URL')
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    return fail('user, query and fragment are not accepted')
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isPlainHttp(options)(url))) {
    return fail('it is not https')
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

/** What the library brings along for its own first step. */
async function publicRoot(): Promise<Buffer> {
  const { default: seeds } = await import('@sigstore/tuf/seeds.json', { with: { type: 'json' } })
  return Buffer.from(seeds[PUBLIC_MIRROR]['root.json'], 'base64')
}
