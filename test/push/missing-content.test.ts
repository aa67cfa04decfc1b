import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { AirgapError, type Answer } from '../../src/errors.ts'
import type { Digest } from '../../src/oci/digest.ts'
import type { TransferEvent } from '../../src/content/events.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { temporaryFolder } from '../support/build-bundle.ts'
import { incompleteTags, packSample, pushTo } from './pushing.ts'
import type { PushPlan } from '../../src/push/planned.ts'

async function prepared(): Promise<{ bundle: string; registry: EmbeddedRegistry }> {
  const bundle = join(await temporaryFolder(), 'bundle.tar')
  await packSample(bundle)
  const registry = await startRegistry()
  onTestFinished(() => registry.close())
  return { bundle, registry }
}

const REPOSITORY = 'mirror/team/app'

/** The blobs and child manifests of the index in the plan. */
function partsOf(plan: PushPlan): { blobs: Digest[]; manifests: Digest[] } {
  return {
    blobs: plan.blobs.map(({ digest }) => digest),
    manifests: plan.manifests.flatMap(({ document, repository }) =>
      repository.repository === REPOSITORY && document.kind === 'manifest' ? [document.digest] : [],
    ),
  }
}

describe('what the registry drops after it was asked for', () => {
  test('is sent again: blobs that were there, before the manifest is put', async () => {
    const { bundle, registry } = await prepared()
    await pushTo(bundle, registry.host)
    const { store } = registry
    const root = store.manifest(REPOSITORY, '1')?.digest
    if (root) store.deleteManifest(REPOSITORY, root)
    const warnings: string[] = []
    const receipt = await pushTo(bundle, registry.host, {
      // The plan says that the blobs are there.
      planned: (plan) => {
        const { blobs, manifests } = partsOf(plan)
        expect(plan.uploadCount).toBe(0)
        for (const digest of manifests) store.deleteManifest(REPOSITORY, digest)
        for (const digest of blobs) store.deleteBlob(REPOSITORY, digest)
      },
      onEvent: (event) => {
        if (event.type === 'warning') warnings.push(event.message)
      },
    })
    expect(receipt.complete).toBe(true)
    expect(receipt.totals.uploaded.count).toBeGreaterThan(3)
    expect(incompleteTags(store)).toEqual({ tags: 2, missing: [] })
    expect(warnings.length).toBeGreaterThan(0)
    expect(warnings[0]).toContain(`${registry.host}/${REPOSITORY} has dropped`)
  })

  test('is sent again before the tag is set: a child of the index, with its blobs', async () => {
    const { bundle, registry } = await prepared()
    const { store } = registry
    let plan: PushPlan | undefined
    const drop = (event: TransferEvent): void => {
      if (event.type !== 'phase' || event.phase !== 'tag' || !plan) return
      const { blobs, manifests } = partsOf(plan)
      for (const digest of manifests) store.deleteManifest(REPOSITORY, digest)
      for (const digest of blobs) store.deleteBlob(REPOSITORY, digest)
    }
    const receipt = await pushTo(bundle, registry.host, {
      planned: (made) => void (plan = made),
      onEvent: drop,
    })
    expect(receipt.complete).toBe(true)
    expect(incompleteTags(store)).toEqual({ tags: 2, missing: [] })
  })

  test('is sent again once: a registry that never has it is an error, and no tag is set', async () => {
    const { bundle, registry } = await prepared()
    const { store } = registry
    const keep = store.putBlob.bind(store)
    let dropped: Digest | undefined
    store.putBlob = (repository, bytes, digest) => {
      dropped ??= digest
      return digest === dropped && digest !== undefined ? digest : keep(repository, bytes, digest)
    }
    const { problems } = await pushTo(bundle, registry.host).then(
      () => expect.unreachable(),
      (error: AirgapError) => error,
    )
    // One image or both, as the blob that came first belongs to one or to both.
    expect(problems.length).toBeGreaterThan(0)
    for (const { code, message } of problems) {
      expect(code).toBe('REGISTRY')
      expect(message).toContain('MANIFEST_BLOB_UNKNOWN')
    }
    const puts = registry.requests.filter(
      ({ method, path }) => method === 'PUT' && path.includes('manifests'),
    )
    expect(puts.length).toBeLessThan(8)
    // An image that is complete has its tag.
    expect(store.repositories().flatMap((name) => store.tags(name) ?? [])).toHaveLength(2 - problems.length)
  })
})

test('a registry that complains though it has everything is not asked twice', async () => {
  const { bundle, registry } = await prepared()
  const puts: string[] = []
  const complain = (plan: PushPlan): void => {
    for (const { repository } of plan.manifests) {
      repository.putManifest = (ref) => {
        puts.push(`${repository.name}@${ref}`)
        const answer: Answer = {
          status: 400,
          errors: [{ code: 'MANIFEST_BLOB_UNKNOWN', message: '' }],
          text: '',
          path: '/',
          auth: 'none',
        }
        return Promise.reject(new AirgapError('REGISTRY', 'refused', { answer }))
      }
    }
  }
  await expect(pushTo(bundle, registry.host, { planned: complain })).rejects.toMatchObject({
    problems: [{ code: 'REGISTRY' }, { code: 'REGISTRY' }],
  })
  expect(puts).toEqual([...new Set(puts)])
})

test('a blob that is there with another length is damaged, and sent again', async () => {
  const { bundle, registry } = await prepared()
  const { store } = registry
  await pushTo(bundle, registry.host)
  const spoilt = await pushTo(bundle, registry.host, {
    planned: (plan) => {
      const { digest } = plan.blobs[0] ?? {}
      if (digest) store.putBlob(REPOSITORY, Buffer.from('damaged'), digest)
    },
  })
  expect(spoilt.totals.uploaded.count).toBe(0)
  const mended = await pushTo(bundle, registry.host)
  expect(mended.totals.uploaded.count).toBe(1)
  expect(incompleteTags(store)).toEqual({ tags: 2, missing: [] })
})
