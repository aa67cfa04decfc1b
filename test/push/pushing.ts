import { onTestFinished } from 'vitest'
import { AMD64, ARM64, buildIndex, image } from '../../fixtures/images/index.ts'
import { isDigest, type Digest } from '../../src/oci/digest.ts'
import { parseManifest } from '../../src/oci/manifest.ts'
import { RegistryClient } from '../../src/registry/client.ts'
import type { MemoryStore } from '../support/registry/memory-store.ts'
import { openBundle } from '../../src/verify/open.ts'
import type { TransferEvent } from '../../src/content/events.ts'
import { makePushPlan } from '../../src/push/plan.ts'
import { executePush } from '../../src/push/execute.ts'
import type { PushRun } from '../../src/push/work.ts'
import type { Receipt } from '../../src/push/receipt.ts'
import { PushRecord } from '../../src/push/record.ts'
import { packBundle } from '../support/build-bundle.ts'
import { TRUST } from '../verify/check-bundle.ts'
import type { PushPlan } from '../../src/push/planned.ts'

/** A bundle of an index with two images, and of one image that shares a layer with it. */
export async function packSample(path: string): Promise<void> {
  const amd64 = await image('push', AMD64)
  const index = buildIndex([amd64, await image('push', ARM64)])
  await packBundle(path, [
    { reference: 'team/app:1', built: index },
    { reference: 'team/tool:2', built: amd64 },
  ])
}

/** Plans and executes a push in this process. */
export async function pushTo(
  bundle: string,
  host: string,
  options: {
    attempts?: number
    planned?: (plan: PushPlan) => void | Promise<void>
    onEvent?: (event: TransferEvent) => void
    uploads?: PushRun['uploads']
  } = {},
): Promise<Receipt> {
  const client = new RegistryClient({
    plainHttp: ['127.0.0.1'],
    env: {},
    retry: { baseDelayMs: 1, attempts: options.attempts ?? 5 },
  })
  onTestFinished(() => client.close())
  const opened = await openBundle(bundle, TRUST)
  try {
    const target = { registry: host, prefix: 'mirror' }
    const plan = await makePushPlan(opened, { client, target, path: 'strip-host', maps: [] })
    await options.planned?.(plan)
    const record = new PushRecord(opened, plan, { ...target, origin: `http://${host}` })
    return await executePush(opened, plan, record, {
      client,
      ...(options.onEvent ? { onEvent: options.onEvent } : {}),
      ...(options.uploads ? { uploads: options.uploads } : {}),
    })
  } finally {
    await opened.reader.close()
    await client.close()
  }
}

/** What is missing below the tags of a store; and how many tags there are. */
export function incompleteTags(store: MemoryStore): { tags: number; missing: string[] } {
  const missing: string[] = []
  let tags = 0
  const walk = (repository: string, digest: Digest, name: string): void => {
    const found = store.manifest(repository, digest)
    if (!found) {
      missing.push(`${name} lacks the manifest ${digest}`)
      return
    }
    const document = parseManifest(found.bytes, name)
    if (document.kind === 'index') {
      for (const child of document.manifests) walk(repository, child.digest, name)
      return
    }
    for (const blob of [document.config, ...document.layers]) {
      const size = store.blob(repository, blob.digest)?.size
      if (size !== blob.size) missing.push(`${name} lacks the blob ${blob.digest}`)
    }
  }
  for (const repository of store.repositories()) {
    for (const tag of store.tags(repository) ?? []) {
      tags += 1
      const digest = store.manifest(repository, tag)?.digest ?? ''
      if (isDigest(digest)) walk(repository, digest, `${repository}:${tag}`)
    }
  }
  return { tags, missing }
}
