import { join } from 'node:path'
import { beforeAll, test } from 'vitest'
import { scratch } from '../support/airgap.ts'
import { expectCompletion, type Death } from '../push/kills.ts'
import { packSample } from '../push/pushing.ts'

let folder: Awaited<ReturnType<typeof scratch>>
let bundle: string

beforeAll(async () => {
  folder = await scratch()
  bundle = join(folder.path, 'bundle.tar')
  await packSample(bundle)
  return () => folder[Symbol.asyncDispose]()
})

test.each<Death>(['before', 'after'])(
  'a registry that dies %s any request: no tag points to something incomplete, and the next push completes it',
  (death) => expectCompletion(bundle, death, { from: 1, step: 1 }),
)
