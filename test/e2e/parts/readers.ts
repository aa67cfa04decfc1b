import { createHash } from 'node:crypto'
import { mkdtemp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { expect } from 'vitest'
import type { LockedImage } from './airgap.ts'
import { run } from './processes.ts'
import { PASSWORD, USER, type Registry } from './registries.ts'
import type { World } from './world.ts'

/** Where the images of a push are. */
export interface Pushed {
  images: { source: string; target: string; digest: string }[]
}

/**
 * Copies every image of a target, with all platforms and layers, by skopeo, which hashes each blob; and compares
 * the manifest under the tag with the lock.
 */
export async function expectSkopeoToRead(
  world: World,
  pushed: Pushed,
  locked: readonly LockedImage[],
  flags: readonly string[] = skopeoFlags(world),
): Promise<void> {
  expect(pushed.images).toHaveLength(locked.length)
  for (const { source, target } of pushed.images) {
    const folder = await mkdtemp(join(world.folder, 'skopeo-'))
    await run('skopeo', [
      'copy',
      '--quiet',
      '--all',
      '--preserve-digests',
      ...flags,
      `docker://${target}`,
      `dir:${folder}`,
    ])
    const manifest = await readFile(join(folder, 'manifest.json'))
    expect(sha256(manifest), target).toBe(locked.find((image) => image.source === source)?.digest)
  }
}

/** For a source of ours with TLS and password. */
export function skopeoFlags(world: World): string[] {
  return ['--src-authfile', world.authFile, '--src-cert-dir', world.certificates.folder]
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** All tags of a registry of ours, as `REPOSITORY:TAG`. */
export async function tagsOf(world: World, { host }: Registry): Promise<string[]> {
  const agent = new Agent({ connect: { ca: await readFile(world.certificates.ca, 'utf8') } })
  const authorization = `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`
  const get = async (path: string): Promise<{ repositories?: string[] | null; tags?: string[] | null }> => {
    const { statusCode, body } = await request(`https://${host}/v2/${path}`, {
      dispatcher: agent,
      headers: { authorization },
    })
    const text = await body.text()
    // A repository that has received blobs alone has no list of tags.
    if (statusCode === 404) return {}
    expect(statusCode, text).toBe(200)
    return JSON.parse(text) as { repositories?: string[] | null; tags?: string[] | null }
  }
  try {
    const { repositories } = await get('_catalog?n=1000')
    const tags = (repositories ?? []).map(async (repository) =>
      ((await get(`${repository}/tags/list`)).tags ?? []).map((tag) => `${repository}:${tag}`),
    )
    return (await Promise.all(tags)).flat()
  } finally {
    await agent.close()
  }
}
