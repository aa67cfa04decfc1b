import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import { BundleReader } from '../../../src/bundle/reader.ts'
import { pack, verify, type TransferEvent } from '../../../src/index.ts'
import { spellCertificateBundle } from '../../../src/trust/keyless/spelling.ts'
import { overwrite } from '../../pack/resume/resuming.ts'
import { expectNoSecrets } from '../../support/secrets/known.ts'
import { expectUnsigned, openPlace } from './place.ts'
import { IDENTITY, identityToken, ISSUER, startServices } from '../../support/sigstore-services.ts'

describe('a bundle that is signed without a key', () => {
  test.each([1, 2])('is one that readers accept, with a log of version %i', async (version) => {
    const place = await openPlace()
    const { services } = place
    await place.configure(({ rekorTlogUrls }) => (rekorTlogUrls[0]!.majorApiVersion = version))
    const packed = await place.pack()
    expect(packed).toMatchObject({
      isSigned: true,
      certificate: { identity: IDENTITY, issuer: ISSUER, logEntries: [{ url: services.origin }] },
    })
    expect(services.asked).toEqual(['fulcio', 'tsa', version === 1 ? 'rekor' : 'rekor-2'])
    const { authentication } = await verify(place.output, {
      identities: [{ identity: IDENTITY, issuer: ISSUER }],
      trustedRoot: place.root,
    })
    expect(authentication).toMatchObject({ state: 'signed', signatures: [{ by: { identity: IDENTITY } }] })
    await using reader = await BundleReader.open(place.output)
    const { sigstore, raw } = await reader.readHead()
    expect(raw).toBeUndefined()
    expect(sigstore!.length).toBe(64 * 1024)
    expect(spellCertificateBundle(sigstore!).equals(sigstore!)).toBe(true)
    const notes = place.events.flatMap((event) =>
      event.type === 'registry' && event.notice.type === 'note' ? [event.notice.message] : [],
    )
    expect(notes[0]).toContain(`${IDENTITY}, issuer ${ISSUER} (from the token; not verified here)`)
    expect(notes[1]).toMatch(
      /go into the logs of 127\.0\.0\.1:\d+\. If these are public, this cannot be undone\.$/,
    )
    expectNoSecrets(JSON.stringify([place.events, packed]), 'what is told')
  })

  test('is, but for the signature, what every bundle of the same is', async () => {
    const place = await openPlace()
    const created = Date.parse('2026-01-01T00:00:00Z')
    await place.pack({}, { created })
    const mine = await readFile(place.output)
    const output = join(place.folder, 'unsigned.tar')
    await pack({ images: place.images.slice(0, 1), output, name: 'out', created, key: 'unsigned' })
    const unsigned = await readFile(output)
    const at = mine.indexOf('SHA256SUMS.sigstore.json')
    const without = Buffer.concat([mine.subarray(0, at), mine.subarray(at + 512 + 64 * 1024)])
    expect(without.equals(unsigned)).toBe(true)
  })
})

describe('the log is written to last of all', () => {
  test('[duty: late-log] no service is asked when a blob is missing', async () => {
    const place = await openPlace()
    const { services, images, source, built } = place
    const { descriptor, bytes } = built[1]!.layers[0]!
    source.store.deleteBlob('two', descriptor.digest)
    await expect(place.pack({}, { images })).rejects.toMatchObject({ code: 'INCOMPLETE' })
    expect(services.asked).toEqual([])
    source.store.putBlob('two', bytes)
    await place.pack({}, { images })
    expect(services.asked).toEqual(['fulcio', 'tsa', 'rekor'])
  })

  test('a run that was killed on the way there is gone on with', async () => {
    const place = await openPlace()
    const { services, output } = place
    const files = [`${output}.partial`, `${output}.partial.journal`] as const
    let killed: Buffer[] | undefined
    services.faults.tsa = async () => {
      killed = await Promise.all(files.map((file) => readFile(file)))
      return { status: 400, body: '' }
    }
    await expectUnsigned(place, 'REGISTRY', /400 Bad Request/)
    for (const [i, file] of files.entries()) await overwrite(file, killed![i]!)
    services.faults = {}
    services.asked.length = 0
    place.asked()
    const { resumed, fetched } = await place.pack()
    expect(fetched.count).toBe(0)
    expect(resumed.count).toBeGreaterThan(0)
    expect(place.asked()).toBe(0)
    expect(services.asked).toEqual(['fulcio', 'tsa', 'rekor'])
  })

  test('a name that was taken meanwhile is noticed before any service is asked', async () => {
    const place = await openPlace()
    const { output, services } = place
    const onEvent = (event: TransferEvent): void => {
      if (event.type === 'phase' && event.phase === 'fetch') writeFileSync(output, 'mine')
    }
    await expect(place.pack({}, { onEvent })).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' })
    expect(services.asked).toEqual([])
    await place.pack({}, { force: true })
  })

  test('what came out of an earlier bundle alone is kept, too', async () => {
    const place = await openPlace()
    const { folder, images, services, source } = place
    const earlier = join(folder, 'earlier.tar')
    await pack({ images: images.slice(0, 1), output: earlier, key: 'unsigned' })
    services.faults.tsa = () => ({ status: 400, body: '' })
    await expect(place.pack({}, { reuse: [earlier] })).rejects.toMatchObject({ code: 'INCOMPLETE' })
    services.faults = {}
    await rm(earlier)
    await source.close()
    expect(await place.pack()).toMatchObject({ isSigned: true, fetched: { count: 0 } })
  })

  test('called off while it is signed: nothing is lost, and nothing looks finished', async () => {
    const place = await openPlace()
    const controller = new AbortController()
    const reason = new Error('a cut line')
    place.services.faults.fulcio = () => {
      controller.abort(reason)
      return undefined
    }
    const left: unknown[] = []
    const onIncomplete = (unfinished: unknown): void => void left.push(unfinished)
    await expect(place.pack({}, { signal: controller.signal, onIncomplete })).rejects.toBe(reason)
    expect(left).toMatchObject([{ file: `${place.output}.partial` }])
    expect(place.services.asked).not.toContain('rekor')
  })
})

describe('[duty: token-secrecy] the identity token', () => {
  test('is looked at before anything is asked', async () => {
    const place = await openPlace()
    const { services, token } = place
    const past = Math.floor(Date.now() / 1000) - 60
    const wrong: [() => Promise<void>, string, RegExp][] = [
      [() => rm(token), 'FILE', /cannot read the identity token file .*token: there is no such file/],
      [() => writeFile(token, ''), 'CREDENTIALS', /in .*token cannot be used: it is empty/],
      [() => writeFile(token, 'a.b'), 'CREDENTIALS', /is not a JWT/],
      [() => writeFile(token, 'a.bm9qc29u.c'), 'CREDENTIALS', /its claims cannot be read/],
      [() => place.renewToken({ exp: past }), 'CREDENTIALS', /in .*token has expired, at 20\d\d-/],
      [() => place.renewToken({ sub: undefined }), 'CREDENTIALS', /it has no subject/],
      [() => place.renewToken({ email: 'a@example.internal' }), 'CREDENTIALS', /not verified its e-mail/],
    ]
    for (const [prepare, code, message] of wrong) {
      await prepare()
      await expect(place.pack()).rejects.toMatchObject({
        code,
        message: expect.stringMatching(message) as string,
      })
    }
    await place.renewToken({ aud: 'somebody else' })
    await expect(place.pack({ signingConfig: undefined })).rejects.toMatchObject({
      code: 'CREDENTIALS',
      message: expect.stringMatching(
        /has the audience somebody else, but needs sigstore \(claim aud\)/,
      ) as string,
    })
    vi.stubEnv('SIGSTORE_ID_TOKEN', '')
      .stubEnv('ACTIONS_ID_TOKEN_REQUEST_URL', '')
      .stubEnv('GITLAB_CI', 'true')
    await expect(place.pack({ identityToken: undefined })).rejects.toMatchObject({
      code: 'CREDENTIALS',
      hint: expect.stringMatching(/id_tokens: SIGSTORE_ID_TOKEN: aud: sigstore/) as string,
    })
    vi.unstubAllEnvs()
    expect(place.asked()).toBe(0)
    expect(services.asked).toEqual([])
  })

  test('may have expired by the end: everything is kept, and a fresh one finishes', async () => {
    const place = await openPlace()
    const { services, token } = place
    const expired = identityToken({ exp: Math.floor(Date.now() / 1000) - 1 })
    const outcome = place.pack(
      {},
      {
        onEvent: (event) => {
          if (event.type === 'item') writeFileSync(token, expired)
        },
      },
    )
    await expect(outcome).rejects.toMatchObject({
      code: 'INCOMPLETE',
      problems: [{ code: 'CREDENTIALS', message: expect.stringMatching(/has expired/) as string }],
    })
    expect(services.asked).toEqual([])
    await place.renewToken()
    place.asked()
    await place.pack()
    expect(place.asked()).toBe(0)
  })

  test('may come by a pipe, which gives it once', async () => {
    const place = await openPlace()
    const pipe = join(place.folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    void writeFile(pipe, identityToken())
    await place.pack({ identityToken: { file: pipe } })
  })

  test('of GitHub Actions is asked for at the end; that of a variable is there', async () => {
    const place = await openPlace()
    const { services } = place
    const vary = vi
      .stubEnv('ACTIONS_ID_TOKEN_REQUEST_URL', `${services.origin}/github/token?api-version=2`)
      .stubEnv('ACTIONS_ID_TOKEN_REQUEST_TOKEN', 'Req-t0ken-of-the-job')
      .stubEnv('SIGSTORE_ID_TOKEN', '')
    const urls: string[] = []
    services.faults.github = ({ url }) => void urls.push(url)
    await place.pack({ identityToken: undefined })
    expect(services.asked).toEqual(['github', 'fulcio', 'tsa', 'rekor'])
    expect(urls).toEqual(['/github/token?api-version=2&audience=sigstore'])
    vary.stubEnv('SIGSTORE_ID_TOKEN', identityToken())
    services.asked.length = 0
    await place.pack({ identityToken: undefined }, { force: true })
    expect(services.asked).toEqual(['fulcio', 'tsa', 'rekor'])
    vi.unstubAllEnvs()
  })

  test('goes nowhere but to Fulcio: redirects are not followed, and no error shows it', async () => {
    const place = await openPlace()
    const other = await startServices()
    const { services } = place
    services.faults.fulcio = () => ({
      status: 307,
      headers: { location: `${other.origin}/api/v2/signingCert` },
      body: '',
    })
    await expectUnsigned(place, 'REGISTRY', /307 Temporary Redirect, and redirects are not followed/)
    expect(other.asked).toEqual([])
    services.faults.fulcio = ({ body }) => ({ status: 400, type: 'text/plain', body })
    await expectUnsigned(place, 'REGISTRY', /400 Bad Request/)
    services.faults.fulcio = ({ body }) => ({
      status: 500,
      type: 'text/html',
      body: `<html>${body.toString()}`,
    })
    await expectUnsigned(place, 'REGISTRY', /500 Internal Server Error \(an HTML page\)/)
  })
})

describe('what cannot be', () => {
  test('a stream; and a plan needs no token', async () => {
    const place = await openPlace()
    await expect(place.pack({}, { output: new PassThrough() })).rejects.toMatchObject({
      code: 'USAGE',
      hint: expect.stringMatching(/Pack into a file/) as string,
    })
    await rm(place.token)
    const plan = await place.pack({}, { output: undefined })
    await place.renewToken()
    expect(plan).toMatchObject({ isSigned: true, size: (await place.pack()).size })
    expect(plan.certificate).toBeUndefined()
  })

  test('another way of signing on what was begun in this one', async () => {
    const place = await openPlace()
    place.services.faults.fulcio = () => ({ status: 400, body: '' })
    await expectUnsigned(place, 'REGISTRY', /400/)
    await expect(
      pack({ images: place.images.slice(0, 1), output: place.output, key: 'unsigned' }),
    ).rejects.toMatchObject({
      code: 'OUTPUT_UNFINISHED',
      problems: [{ entry: 'signing key', message: 'keyless → unsigned' }],
    })
  })
})
