import { execFile } from 'node:child_process'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { temporaryFolder } from '../support/build-bundle.ts'

const ROOT = join(import.meta.dirname, '../..')
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')

/** A program as a user of the package would write it, with every option that may be undefined left so once. */
const PROGRAM = `
import { AirgapError, pack, planPush, push, resolve, serve, verify } from 'airgap'
import type { Lock, PackOptions, Receipt, Report, TransferEvent, VerifiedBundle } from 'airgap'

const registries = { plainHttp: ['r:5000'], caFile: undefined, credentials: undefined }
const lock: Lock = await resolve({ images: ['nginx:1.27'], platforms: ['linux/amd64'], registries })
const options: PackOptions = { lock, output: 'x.tar', key: 'unsigned', name: undefined, reuse: undefined }
const onEvent = (event: TransferEvent): void => {
  if (event.type === 'progress') event.bytes satisfies number
}
const { bundleDigest } = await pack({ ...options, onEvent, signal: undefined })
bundleDigest satisfies \`sha256:\${string}\`
const trust = { keys: ['airgap.pub'], expectDigest: bundleDigest, minSequence: undefined }
const bundle: VerifiedBundle = await verify('x.tar', { ...trust, signal: AbortSignal.timeout(1) })
bundle.description.images[0]?.source satisfies string | undefined
const onReport = ({ verdict }: Report): void => void (verdict satisfies string)
await verify('x.tar', { ...trust, onReport, reportCommand: undefined })
const receipt: Receipt = await push('x.tar', 'r:5000', { ...trust, maps: ['a=b'], onIncomplete: undefined })
receipt.images[0]?.tag.state satisfies string | undefined
const plan = await planPush('x.tar', 'r:5000', trust)
plan.totals.uploaded.bytes satisfies number
await using served = await serve(['x.tar'], { ...trust, listen: { host: '127.0.0.1', port: 0 }, tls: undefined })
served.url satisfies string
try {
  // @ts-expect-error -- there is no trust without keys that are named or done without by name
  await verify('x.tar')
} catch (error) {
  if (error instanceof AirgapError) error.code satisfies string
}
`

let folder: string

/** Settings of strict projects, and of none that leaves out what libraries declare. */
const COMMON = {
  target: 'es2024',
  lib: ['es2024', 'esnext.disposable'],
  types: [],
  strict: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  noEmit: true,
}

beforeAll(async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [TSC, '--version'])
  expect(stdout).toMatch(/^Version /)
})

test.each([
  { exactOptionalPropertyTypes: true, module: 'nodenext', moduleResolution: 'nodenext' },
  { exactOptionalPropertyTypes: false, module: 'esnext', moduleResolution: 'bundler' },
])('the declarations compile with %o', async (settings) => {
  folder = await temporaryFolder()
  await mkdir(join(folder, 'node_modules'))
  await symlink(ROOT, join(folder, 'node_modules/airgap'))
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await writeFile(join(folder, 'program.ts'), PROGRAM)
  const config = { compilerOptions: { ...COMMON, ...settings }, files: ['program.ts'] }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const { stdout } = await promisify(execFile)(process.execPath, [
    TSC,
    '--singleThreaded',
    '-p',
    folder,
  ]).catch((error: { stdout: string }) => error)
  expect(stdout).toBe('')
})
