import { join } from 'node:path'
import { beforeAll, test } from 'vitest'
import { scratch } from '../support/airgap.ts'
import { expectCompletion, type Death } from './kills.ts'
import { packSample } from './pushing.ts'

let folder: Awaited<ReturnType<typeof scratch>>
let bundle: string

beforeAll(async () => {
  folder = await scratch()
  bundle = join(folder.path, 'bundle.tar')
  await packSample(bundle)
  return () => folder[Symbol.asyncDispose]()
})

// The tests of faults let it die at every request.
test.each<[death: Death, from: number]>([
  ['before', 1],
  ['after', 2],
])(
  'a registry that dies %s a request: no tag points to something incomplete, and the next push completes it',
  (death, from) => expectCompletion(bundle, death, { from, step: 3 }),
)
