import { createPublicKey, generateKeyPairSync, verify as verifyBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { AMD64, ARM64, buildIndex, image } from '../../../fixtures/images/index.ts'
import {
  AirgapError,
  push,
  serializeReceipt,
  serializeReport,
  signBytes,
  verify,
  type Receipt,
  type Report,
  type VerifyOptions,
} from '../../../src/index.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { startRegistry, type EmbeddedRegistry } from '../../support/registry/registry.ts'
import { verifySignature } from '../../../src/trust/verify.ts'
import {
  archiveOf,
  bundleOf,
  draftOf,
  entriesOf,
  newSigner,
  signer,
  temporaryBundle,
  temporaryFolder,
  type Draft,
} from '../../support/build-bundle.ts'
import { expectShape } from '../../support/schemas.ts'
import { failureOf, inFrontOf } from '../../push/refusing.ts'
import { IDENTITY, ISSUER, makeSigstore } from '../../trust/sigstore.ts'

const KEYS = { keys: [signer.publicKey] }
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

let draft: Draft
let bytes: Buffer

beforeAll(async () => {
  const index = buildIndex([await image('app', AMD64), await image('app', ARM64)])
  draft = await draftOf([{ source: 'example.test/team/app:1.0', built: index }], {
    expires: '2099-01-01T00:00:00Z',
    version: '7',
  })
  bytes = bundleOf(draft)
})

/** The report of one verification, and what that came to. */
async function reportOf(
  path: string,
  options: VerifyOptions,
): Promise<{ report: Report; error: AirgapError | undefined }> {
  const reports: Report[] = []
  let error: AirgapError | undefined
  try {
    await verify(path, { ...options, onReport: (report) => void reports.push(report) })
  } catch (thrown) {
    if (!(thrown instanceof AirgapError)) throw thrown
    error = thrown
  }
  expect(reports).toHaveLength(1)
  const [report] = reports as [Report]
  expectShape('report', JSON.parse(serializeReport(report).toString()))
  return { report, error }
}

/** Each rule and what came of it. */
function verdicts({ rules }: Report): Record<string, string> {
  return Object.fromEntries(
    rules.map(({ rule, ok }) => [rule, ok === undefined ? 'not-checked' : ok ? 'passed' : 'failed']),
  )
}

/** The bundle with a bit turned in its last layer. */
function altered(): Buffer {
  const all = entriesOf(draft)
  const content = Buffer.from(all.at(-1)?.content ?? [])
  content[0] = (content[0] ?? 0) ^ 1
  return archiveOf([...all.slice(0, -1), { name: all.at(-1)?.name ?? '', content }])
}

const INTACT = { archive: 'passed', description: 'passed', images: 'passed', content: 'passed' }
const UNREAD = {
  archive: 'not-checked',
  description: 'not-checked',
  images: 'not-checked',
  content: 'not-checked',
}

describe('the report of a good bundle', () => {
  test('says what was verified, by whom, when and with what', async () => {
    const path = await temporaryBundle(bytes)
    const before = Date.now()
    const { report, error } = await reportOf(path, KEYS)
    expect(error).toBeUndefined()
    expect(report).toMatchObject({
      type: 'dev.airgap.report',
      formatVersion: '1.0',
      tool: { name: 'airgap' },
      runtime: { name: 'Node.js', version: process.versions.node },
      host: { name: hostname(), platform: process.platform, architecture: process.arch },
      verdict: 'good',
      file: { path, size: bytes.length, digest: digestOf(bytes) },
      bundle: {
        name: 'test.tar',
        version: '7',
        sequence: 7,
        created: '2026-01-01T00:00:00Z',
        expires: '2099-01-01T00:00:00Z',
        platforms: 'all',
      },
      trusted: { keys: [{ fingerprint: signer.publicKey.fingerprint, file: 'test.pub' }], signatures: [] },
      signers: [
        {
          signature: 'SHA256SUMS.sigstore.json',
          form: 'sigstore-bundle',
          keyFingerprint: signer.publicKey.fingerprint,
        },
      ],
      problems: [],
    })
    expect(report.images).toEqual(draft.description.images)
    expect(verdicts(report)).toEqual({ signature: 'passed', 'not-expired': 'passed', ...INTACT })
    for (const { found } of report.rules) expect(found).toMatch(/\S/)
    for (const time of [report.started, report.finished]) expect(time).toMatch(MOMENT)
    expect(Date.parse(report.started)).toBeGreaterThanOrEqual(before)
    expect(Date.parse(report.finished)).toBeGreaterThanOrEqual(Date.parse(report.started))
    expect(report.clock).toBeUndefined()
    expect(report.command).toBeUndefined()
    expect(report.receipt).toBeUndefined()
  })

  test('lists every expectation of the caller with what was found', async () => {
    const { report } = await reportOf(await temporaryBundle(bytes), {
      ...KEYS,
      expectName: 'test.tar',
      minSequence: 7,
    })
    expect(report.rules.slice(1, 4)).toEqual([
      { rule: 'name', expected: 'test.tar', found: 'test.tar', ok: true },
      { rule: 'least-sequence', expected: '7', found: '7', ok: true },
      {
        rule: 'not-expired',
        expected: expect.stringMatching(/^an expiry after 20/) as string,
        found: 'it expires 2099-01-01T00:00:00Z',
        ok: true,
      },
    ])
  })

  test('without a signature says that nobody vouches for it', async () => {
    const { report } = await reportOf(await temporaryBundle(bytes), { unauthenticated: true })
    expect(report).toMatchObject({ verdict: 'integrity-only', signers: [], trusted: { keys: [] } })
    expect(verdicts(report)).toMatchObject({ signature: 'not-checked', ...INTACT })
  })

  test('names the identity of a certificate, the log entries, and the trusted root by its digest', async () => {
    const folder = await temporaryFolder()
    const sigstore = await makeSigstore()
    const trustedRoot = join(folder, 'trusted_root.json')
    await writeFile(trustedRoot, sigstore.trustedRoot)
    const all = entriesOf(draft)
    const checksums = all.find(({ name }) => name === 'SHA256SUMS')?.content ?? Buffer.alloc(0)
    const signature = join(folder, 'approval.json')
    await writeFile(signature, await sigstore.sign(checksums))
    const { report } = await reportOf(await temporaryBundle(archiveOf(all)), {
      identities: [{ identity: IDENTITY, issuerRegexp: `${ISSUER}|other` }],
      trustedRoot,
      signatures: [signature],
    })
    const root = digestOf(sigstore.trustedRoot)
    expect(report.verdict).toBe('good')
    expect(report.trusted).toEqual({
      keys: [],
      identities: [{ identity: IDENTITY, issuer: `/${ISSUER}|other/` }],
      trustedRoot: { file: trustedRoot, digest: root },
      signatures: [signature],
    })
    expect(report.signers).toEqual([
      {
        signature,
        form: 'sigstore-bundle',
        identity: IDENTITY,
        issuer: ISSUER,
        times: [expect.stringMatching(MOMENT)],
        logEntries: [
          {
            logId: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
            logIndex: expect.stringMatching(/^\d+$/) as string,
            integratedTime: expect.stringMatching(MOMENT) as string,
          },
        ],
        trustedRoot: root,
      },
    ])
  })

  test('says that the clock stands before the creation of the bundle', async () => {
    const early = await draftOf([], { created: '2098-01-01T00:00:00Z' })
    const { report } = await reportOf(await temporaryBundle(bundleOf(early)), KEYS)
    expect(report.clock?.created).toBe('2098-01-01T00:00:00Z')
    expect(Date.parse(report.clock?.now ?? '')).toBeLessThanOrEqual(Date.parse(report.finished))
  })

  test('has the exact name of a bundle, whatever characters it is made of', async () => {
    const name = 'k8s\u001b[31m\u202egood\u0007.tar'
    const { report } = await reportOf(await temporaryBundle(bundleOf(await draftOf([], { name }))), KEYS)
    const file = serializeReport(report).toString()
    expect((JSON.parse(file) as Report).bundle?.name).toBe(name)
    expect(file).not.toContain('\u001b')
  })

  test('says how it was asked for, and leaves out what nobody ought to type', async () => {
    const reportCommand = {
      name: 'verify',
      arguments: ['https://user:hunter22@registry.internal/x'],
      flags: [{ name: 'key', value: 'keys/a.pub' }, { name: 'quiet' }],
    }
    const { report } = await reportOf(await temporaryBundle(bytes), { ...KEYS, reportCommand })
    expect(report.command).toEqual({ ...reportCommand, arguments: ['https://…@registry.internal/x'] })
  })
})

describe('the report of a bundle that is refused', () => {
  test('by its signature: nothing of it was parsed, and the file is known all the same', async () => {
    const stranger = newSigner('stranger.pub')
    const { report, error } = await reportOf(await temporaryBundle(bytes), { keys: [stranger.publicKey] })
    expect(error?.code).toBe('VERIFICATION_FAILED')
    expect(report).toMatchObject({ verdict: 'failed', file: { digest: digestOf(bytes) }, signers: [] })
    expect(report.bundle).toEqual({ digest: expect.stringMatching(/^sha256:/) as string })
    expect(verdicts(report)).toEqual({ signature: 'failed', 'not-expired': 'not-checked', ...UNREAD })
    expect(report.problems).toEqual(error?.problems)
  })

  test('by its content', async () => {
    const content = altered()
    const { report, error } = await reportOf(await temporaryBundle(content), KEYS)
    expect(error?.exitCode).toBe(3)
    expect(report.verdict).toBe('failed')
    expect(verdicts(report)).toMatchObject({ signature: 'passed', ...INTACT, content: 'failed' })
    expect(report.problems).toEqual(error?.problems)
    expect(report.problems[0]?.message).toContain('altered')
    expect(report.file.digest).toBe(digestOf(content))
  })

  test('by everything that is expected of it, each rule by itself', async () => {
    const { report, error } = await reportOf(await temporaryBundle(bytes), {
      ...KEYS,
      expectName: 'other',
      minSequence: 8,
    })
    expect(verdicts(report)).toEqual({
      signature: 'passed',
      name: 'failed',
      'least-sequence': 'failed',
      'not-expired': 'passed',
      ...INTACT,
    })
    expect(report.problems.map(({ kind }) => kind)).toEqual(['expectation', 'expectation'])
    expect(report.problems).toEqual(error?.problems)
  })

  test('because it has expired', async () => {
    const old = bundleOf(await draftOf([], { expires: '2026-01-02T00:00:00Z' }))
    const { report } = await reportOf(await temporaryBundle(old), KEYS)
    expect(verdicts(report)).toMatchObject({ 'not-expired': 'failed', ...INTACT })
  })

  test('because another one was approved', async () => {
    const expectDigest = `sha256:${'0'.repeat(64)}`
    const { report } = await reportOf(await temporaryBundle(bytes), { ...KEYS, expectDigest })
    expect(verdicts(report)).toMatchObject({ signature: 'passed', 'bundle-digest': 'failed', ...UNREAD })
    const both = await reportOf(await temporaryBundle(bytes), {
      keys: [newSigner().publicKey],
      expectDigest,
    })
    expect(verdicts(both.report)).toMatchObject({ signature: 'failed', 'bundle-digest': 'failed' })
  })

  test('because it is no bundle, is cut off, or was put together otherwise', async () => {
    const none = await reportOf(await temporaryBundle(Buffer.from('hello')), KEYS)
    expect(none.report).toMatchObject({ verdict: 'failed', images: [], file: { size: 5 } })
    expect(none.report.bundle).toBeUndefined()
    expect(verdicts(none.report)).toMatchObject({ signature: 'not-checked', archive: 'failed' })

    const short = await reportOf(await temporaryBundle(bytes.subarray(0, -2048)), KEYS)
    expect(verdicts(short.report)).toMatchObject({ signature: 'passed', archive: 'failed' })

    const hostile = await draftOf([{ source: 'example.test/a:1', built: await image('a', AMD64) }])
    const [only] = hostile.description.images
    if (only) only.size += 1
    const other = await reportOf(await temporaryBundle(bundleOf(hostile)), KEYS)
    expect(verdicts(other.report)).toMatchObject({ archive: 'passed', images: 'failed', content: 'passed' })
  })

  test('is not to be had of a file that cannot be read', async () => {
    const reports: Report[] = []
    const onReport = (report: Report): void => void reports.push(report)
    const error = await failureOf(verify('/nonexistent/x.tar', { ...KEYS, onReport }))
    expect([error.code, reports]).toEqual(['FILE', []])
  })

  test('takes the place of the result where it throws', async () => {
    const onReport = (): never => {
      throw new AirgapError('DISK_FULL', 'full')
    }
    const error = await failureOf(verify(await temporaryBundle(bytes), { ...KEYS, onReport }))
    expect(error.code).toBe('DISK_FULL')
  })
})

describe('a report that is signed', () => {
  test('[attack: report-altered] is good as it was written, and not with another verdict', async () => {
    const { report } = await reportOf(await temporaryBundle(bytes.subarray(0, -512)), KEYS)
    const file = serializeReport(report)
    const auditor = newSigner('auditor.pub')
    const { bundleJson, der } = await signBytes(file, auditor)
    const keys = [auditor.publicKey]
    const edited = serializeReport({ ...report, verdict: 'good', problems: [] })
    for (const signature of [{ bundleJson }, { der }]) {
      expect(verifySignature({ payload: file, signature, keys }).ok).toBe(true)
      expect(verifySignature({ payload: edited, signature, keys }).ok).toBe(false)
      expect(verifySignature({ payload: file, signature, keys: [signer.publicKey] }).ok).toBe(false)
    }
    // As openssl does it, with nothing of ours.
    const pem = auditor.publicKey.keyObject.export({ type: 'spki', format: 'pem' })
    expect(verifyBytes('sha256', file, createPublicKey(pem), der)).toBe(true)
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey
    expect(verifyBytes('sha256', file, stranger, der)).toBe(false)
  })
})

describe('the report of a push', () => {
  /** Pushes, and gives what it has told, in its order. */
  async function pushed(
    path: string,
    host: string,
    options: Partial<VerifyOptions> = KEYS,
  ): Promise<{ told: (Receipt | Report)[]; error: AirgapError | undefined; receipt: Receipt | undefined }> {
    const told: (Receipt | Report)[] = []
    let error: AirgapError | undefined
    const receipt = await push(path, `${host}/mirror`, {
      ...options,
      stateDirectory: false,
      retries: 0,
      onIncomplete: (one) => void told.push(one),
      onReport: (one) => void told.push(one),
    }).catch((thrown: unknown) => {
      if (!(thrown instanceof AirgapError)) throw thrown
      error = thrown
      return undefined
    })
    for (const one of told)
      expectShape(one.type === 'dev.airgap.report' ? 'report' : 'receipt', JSON.parse(JSON.stringify(one)))
    return { told, error, receipt }
  }

  async function target(): Promise<EmbeddedRegistry> {
    const registry = await startRegistry()
    onTestFinished(() => registry.close())
    return registry
  }

  test('belongs to its receipt', async () => {
    const { host } = await target()
    const path = await temporaryBundle(bytes)
    for (const _ of ['sends all', 'finds all there']) {
      const { told, receipt } = await pushed(path, host)
      expect(told).toHaveLength(1)
      expect(told[0]).toMatchObject({
        verdict: 'good',
        receipt: { complete: true, digest: digestOf(serializeReceipt(receipt!)) },
      })
      expect(verdicts(told[0] as Report)).toMatchObject({ signature: 'passed', ...INTACT })
      // The file is not read in its order.
      expect((told[0] as Report).file.digest).toBeUndefined()
    }
  })

  test('without a signature says so', async () => {
    const { host } = await target()
    const { told } = await pushed(await temporaryBundle(bytes), host, { unauthenticated: true })
    expect(told[0]).toMatchObject({ verdict: 'integrity-only', receipt: { complete: true } })
  })

  /** A bundle of two images, and a target that refuses what is sent of some. */
  async function pushedInPart(refuse: (path: string) => number | undefined): ReturnType<typeof pushed> {
    const host = await inFrontOf(await target(), (method, path) =>
      method === 'POST' ? refuse(path) : undefined,
    )
    const two = await draftOf([
      { source: 'example.test/a:1', built: await image('a', AMD64) },
      { source: 'example.test/b:1', built: await image('b', AMD64) },
    ])
    return pushed(await temporaryBundle(bundleOf(two)), host)
  }

  test('that is incomplete comes behind its receipt; the bundle is good all the same', async () => {
    const { told, error } = await pushedInPart((path) => (path.includes('/b/') ? 403 : undefined))
    expect(error?.code).toBe('INCOMPLETE')
    expect(told).toMatchObject([
      { type: 'dev.airgap.receipt', complete: false },
      { type: 'dev.airgap.report', verdict: 'good', problems: [] },
    ])
    const [receipt, report] = told as [Receipt, Report]
    expect(report.receipt).toEqual({ complete: false, digest: digestOf(serializeReceipt(receipt)) })
  })

  test('that could send nothing says that not all of the bundle was read', async () => {
    const { told, error } = await pushedInPart((path) => (path.includes('/b/') ? 403 : 500))
    expect(error?.code).toBe('INCOMPLETE')
    expect(told[1]).toMatchObject({ verdict: 'incomplete', problems: [], receipt: { complete: false } })
    expect(verdicts(told[1] as Report)).toMatchObject({ ...INTACT, content: 'not-checked' })
  })

  test('of a bundle that is refused, before anything is sent and after', async () => {
    const registry = await target()
    const stranger = { keys: [newSigner().publicKey] }
    const path = await temporaryBundle(bytes)
    const refused = await pushed(path, registry.host, stranger)
    expect(refused.told).toMatchObject([{ type: 'dev.airgap.report', verdict: 'failed' }])
    expect(refused.error?.code).toBe('VERIFICATION_FAILED')
    expect(registry.requests).toEqual([])

    const found = await pushed(await temporaryBundle(altered()), registry.host)
    expect(found.told).toMatchObject([{ type: 'dev.airgap.report', verdict: 'failed' }])
    expect(verdicts(found.told[0] as Report)).toMatchObject({ ...INTACT, content: 'failed' })
    expect((found.told[0] as Report).receipt).toBeUndefined()
  })
})
