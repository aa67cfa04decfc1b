import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { AMD64, image } from '../../fixtures/images/index.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { startRegistry } from '../support/registry/registry.ts'
import type { Receipt } from '../../src/push/receipt.ts'
import type { Report } from '../../src/verify/report/document.ts'
import { readPublicKey } from '../../src/trust/keys.ts'
import { verifySignature } from '../../src/trust/verify.ts'
import { writeKeyPair } from '../../src/trust/key-files.ts'
import { archiveOf, bundleOf, draftOf, entriesOf, signer } from '../support/build-bundle.ts'
import { inFrontOf } from '../push/refusing.ts'
import { scratch, session, type Outcome, type Session } from '../support/airgap.ts'
import { expectShape } from '../support/schemas.ts'

const RUN = join(import.meta.dirname, '../../bin/run.js')
const PASSWORD = 'corr3ct-horse'
const KEY = ['--key', 'airgap.pub']
const NAME = 'k8s\u001b[2J\u202etar'

let folder: Awaited<ReturnType<typeof scratch>>
let run: Session['run']

async function files(pattern: RegExp): Promise<string[]> {
  return (await readdir(folder.path)).filter((name) => pattern.test(name)).toSorted()
}

async function read<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(folder.file(name), 'utf8')) as T
}

/** Expects that the files beside it hold good signatures over it, by that key. */
async function expectSigned(name: string, key = 'auditor.pub'): Promise<void> {
  const payload = await readFile(folder.file(name))
  const keys = [await readPublicKey(folder.file(key))]
  const bundleJson = await readFile(folder.file(`${name}.sigstore.json`))
  const der = await readFile(folder.file(`${name}.sig`))
  expect(verifySignature({ payload, signature: { bundleJson, der }, keys })).toMatchObject({ ok: true })
  expect(verifySignature({ payload, signature: { der }, keys })).toMatchObject({ ok: true })
}

/** What was expected to fail, left no trace. */
async function expectNothing(outcome: Outcome, code: number, words: string, pattern: RegExp): Promise<void> {
  expect(outcome.stderr).toContain(words)
  expect(outcome.code).toBe(code)
  expect(await files(pattern)).toEqual([])
}

beforeAll(async () => {
  folder = await scratch()
  ;({ run } = session(folder.path))
  const draft = await draftOf(
    [
      { source: 'example.test/team/app:1', built: await image('app', AMD64) },
      { source: 'example.test/team/tool:1', built: await image('tool', AMD64) },
    ],
    { name: NAME },
  )
  await writeFile(folder.file('good.tar'), bundleOf(draft))
  const all = entriesOf(draft)
  const content = Buffer.from(all.at(-1)?.content ?? [])
  content[0] = (content[0] ?? 0) ^ 1
  const name = all.at(-1)?.name ?? ''
  await writeFile(folder.file('bad.tar'), archiveOf([...all.slice(0, -1), { name, content }]))
  const pem = signer.publicKey.keyObject.export({ type: 'spki', format: 'pem' })
  await writeFile(folder.file('airgap.pub'), pem)
  const plain = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const plainKey = plain.privateKey.export({ type: 'pkcs8', format: 'pem' })
  await writeFile(folder.file('plain.key'), plainKey, { mode: 0o600 })
  await writeFile(folder.file('plain.pub'), plain.publicKey.export({ type: 'spki', format: 'pem' }))
  await writeKeyPair({ prefix: folder.file('auditor'), password: PASSWORD })
})

afterAll(async () => {
  await folder[Symbol.asyncDispose]()
})

describe('verify --report', () => {
  it('writes what was verified, signed, and says where and what its digest is', async () => {
    const args = ['verify', 'good.tar', ...KEY, '--report', 'a.json', '--report-key', 'plain.key', '-q']
    const { code, stdout, stderr } = await run(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const bytes = await readFile(folder.file('a.json'))
    expect(stdout).toMatch(/^ {2}report +a\.json$/m)
    expect(stdout).toContain(digestOf(bytes))
    const report = await read<Report>('a.json')
    expectShape('report', report)
    expect(report).toMatchObject({
      verdict: 'good',
      command: {
        name: 'verify',
        arguments: ['good.tar'],
        flags: [
          { name: 'key', value: 'airgap.pub' },
          { name: 'report', value: 'a.json' },
          { name: 'report-key', value: 'plain.key' },
          { name: 'quiet' },
        ],
      },
      file: { path: 'good.tar', digest: digestOf(await readFile(folder.file('good.tar'))) },
    })
    // Exact in the document, harmless on the terminal.
    expect(report.bundle?.name).toBe(NAME)
    expect(stdout).toContain('k8s\\u{1b}[2J\\u{202e}tar')
    await expectSigned('a.json', 'plain.pub')
  })

  it('writes it of a bundle that is refused, too; the exit code stays', async () => {
    const { code, stdout, stderr } = await run(['verify', 'bad.tar', ...KEY, '--report', 'b.json'])
    expect(code).toBe(3)
    expect(stdout).toBe('')
    const bytes = await readFile(folder.file('b.json'))
    expect(stderr).toContain(`The report of the verification is in b.json (${digestOf(bytes)})`)
    expect(await read('b.json')).toMatchObject({
      verdict: 'failed',
      problems: [{ message: expect.stringContaining('altered') as string }],
    })
  })

  it.each<[string, string[], number, string]>([
    ['into a folder that is not there', ['--report', 'no/c.json'], 7, 'there is no folder'],
    ['over a file', ['--report', 'airgap.pub'], 7, 'airgap.pub: it already exists'],
    ['to standard output', ['--report', '-'], 2, 'a report needs a file'],
    ['with a key that is not there', ['--report', 'c.json', '--report-key', 'c.key'], 7, 'no such file'],
    ['with a public key', ['--report', 'c.json', '--report-key', 'airgap.pub'], 7, 'a public key'],
    ['with no password', ['--report', 'c.json', '--report-key', 'auditor.key'], 5, 'AIRGAP_REPORT_PASSWORD'],
    ['with a key for nothing', ['--report-key', 'auditor.key'], 2, '--report'],
  ])('%s: nothing is written', async (_, flags, code, words) => {
    const outcome = await run(['verify', 'good.tar', ...KEY, ...flags])
    await expectNothing(outcome, code, words, /^(?:c\.|-)|\.partial$/)
  })

  it('tells a full disk apart from a bundle that is not good', async () => {
    // The most that a file may have, as a disk with no room for more.
    const attempt = (bundle: string): Promise<{ code: unknown; stderr: string }> =>
      new Promise((resolve) => {
        const args = [process.execPath, RUN, 'verify', bundle, ...KEY, '--report', 'd.json']
        execFile(
          'bash',
          ['-c', 'ulimit -f 1; exec "$@"', '-', ...args],
          { cwd: folder.path },
          (error, _, stderr) => resolve({ code: error?.code, stderr }),
        )
      })
    const good = await attempt('good.tar')
    expect(good.stderr).toContain('Error: the bundle is good, but the report was not written: cannot')
    expect(good.code).toBe(7)
    const bad = await attempt('bad.tar')
    expect(bad.stderr).toContain('Warning: the report of the verification was not written: cannot write')
    expect(bad.stderr).toContain('Error: bad.tar is not a good bundle')
    expect(bad.code).toBe(3)
    expect(await files(/^d\./)).toEqual([])
  })
})

describe('push', () => {
  it('writes the report beside the receipt and signs both', async () => {
    await using target = await startRegistry()
    const push = ['push', 'good.tar', target.host, ...KEY, '--receipt', 'mine.receipt.json']
    const env = { AIRGAP_PASSWORD: 'of another key', AIRGAP_RECEIPT_PASSWORD: PASSWORD }
    const { code, stdout } = await run([...push, '--receipt-key', 'auditor.key'], env)
    expect(code).toBe(0)
    expect(await files(/^mine/)).toEqual(
      ['receipt', 'report'].flatMap((name) =>
        ['', '.sig', '.sigstore.json'].map((suffix) => `mine.${name}.json${suffix}`),
      ),
    )
    expect(stdout).toMatch(/^ {2}report +mine\.report\.json$/m)
    expect(stdout).toMatch(/^ {2}both signed by\n {4}[0-9a-f]{64}$/m)
    const report = await read<Report>('mine.report.json')
    expect(report).toMatchObject({ verdict: 'good', command: { name: 'push' } })
    expect(report.receipt?.digest).toBe(digestOf(await readFile(folder.file('mine.receipt.json'))))
    for (const name of ['mine.receipt.json', 'mine.report.json']) await expectSigned(name)
  })

  it('sends nothing where the key does not open, or a report is in the way', async () => {
    await using target = await startRegistry()
    const push = ['push', 'good.tar', target.host, ...KEY, '--receipt', 'e.json']
    const wrong = await run([...push, '--receipt-key', 'auditor.key'], { AIRGAP_RECEIPT_PASSWORD: 'wrong' })
    await expectNothing(wrong, 5, 'the password does not open auditor.key', /^e\./)
    await writeFile(folder.file('e.report.json'), 'mine')
    const taken = await run(push)
    expect(taken).toMatchObject({ code: 7 })
    expect(taken.stderr).toContain('e.report.json: it already exists')
    expect(await files(/^e\./)).toEqual(['e.report.json'])
    expect(target.requests).toEqual([])
  })

  it.each([
    ['the receipt', 'h.json', []],
    ['a signature of it', 'h.json.sig', ['--receipt-key', 'auditor.key']],
  ])('sends nothing where the report would have the name of %s', async (_, report, flags) => {
    await using target = await startRegistry()
    const push = [
      'push',
      'good.tar',
      target.host,
      ...KEY,
      '--receipt',
      'h.json',
      '--report',
      report,
      ...flags,
    ]
    const outcome = await run(push, { AIRGAP_RECEIPT_PASSWORD: PASSWORD })
    await expectNothing(outcome, 7, 'this run already writes another file there', /^h\./)
    expect(target.requests).toEqual([])
  })

  it('of a bundle that is refused writes the report that was asked for, and none else', async () => {
    await using target = await startRegistry()
    const push = ['push', 'bad.tar', target.host, ...KEY, '--receipt', 'f.json']
    expect((await run(push)).code).toBe(3)
    expect(await files(/^f\./)).toEqual([])
    expect((await run([...push, '--report', 'g.json'])).code).toBe(3)
    expect(await files(/^[fg]\./)).toEqual(['g.json'])
    expect(await read('g.json')).toMatchObject({ verdict: 'failed' })
  })

  it('that is incomplete keeps both under one name, and the next run has theirs', async () => {
    const target = await startRegistry()
    onTestFinished(() => target.close())
    const host = await inFrontOf(target, (method, path) =>
      method === 'POST' && path.includes('/tool/') ? 403 : undefined,
    )
    const push = ['push', 'good.tar', host, ...KEY, '--receipt', 'h.json', '--retries', '0']
    const { code, stderr } = await run([...push, '--receipt-key', 'plain.key'])
    expect(code).toBe(6)
    const [receipt = '', , , report = ''] = await files(/^h\./)
    expect(receipt).toMatch(/^h\.json\.\d{8}T\d{9}Z\.incomplete$/)
    expect(report).toBe(receipt.replace('h.json', 'h.report.json'))
    expect(await files(/^h\./)).toHaveLength(6)
    for (const name of [receipt, report]) {
      expect(stderr).toContain(name)
      await expectSigned(name, 'plain.pub')
    }
    expect((await read<Receipt>(receipt)).complete).toBe(false)
    expect((await read<Report>(report)).receipt).toEqual({
      complete: false,
      digest: digestOf(await readFile(folder.file(receipt))),
    })
    expect((await run([...push.slice(0, 2), target.host, ...push.slice(3)])).code).toBe(0)
    expect((await read<Report>('h.report.json')).receipt?.complete).toBe(true)
  })
})
