import { copyFile, readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { servicesOf } from '../../src/trust/keyless/signing-config.ts'
import { openPlace } from '../trust/keyless/place.ts'
import { IDENTITY, ISSUER } from '../support/sigstore-services.ts'
import { describeEnd } from './parts/airgap.ts'
import { attempt, run, type Ended } from './parts/processes.ts'
import { withParts } from './parts/tools.ts'

const FILES = ['SHA256SUMS', 'SHA256SUMS.sigstore.json']

withParts('keyless', ['cosign', 'tar', 'network namespaces'], () => {
  const env = (folder: string) => ({ PATH: process.env['PATH'], HOME: folder })
  /** Without any network. */
  const verifyBlob = (folder: string, identity: string): Promise<Ended> =>
    attempt(
      'unshare',
      [
        '-n',
        'cosign',
        'verify-blob',
        '--bundle',
        'SHA256SUMS.sigstore.json',
        '--certificate-identity',
        identity,
        '--certificate-oidc-issuer',
        ISSUER,
        '--trusted-root',
        'trusted_root.json',
        'SHA256SUMS',
      ],
      { cwd: folder, env: env(folder) },
    )

  describe('a bundle that is signed without a key', () => {
    test.each([1, 2])(
      'is verified by cosign, offline, out of its place (log of version %i)',
      async (version) => {
        const place = await openPlace()
        const { folder } = place
        await place.configure(({ rekorTlogUrls }) => (rekorTlogUrls[0]!.majorApiVersion = version))
        await place.pack()
        await run('tar', ['-C', folder, '-xf', place.output, ...FILES])
        const good = await verifyBlob(folder, IDENTITY)
        expect(good.code, describeEnd(good)).toBe(0)
        const other = await verifyBlob(folder, `${IDENTITY}r`)
        expect(other.code, describeEnd(other)).not.toBe(0)
        await copyFile(place.token, `${folder}/SHA256SUMS`)
        const changed = await verifyBlob(folder, IDENTITY)
        expect(changed.code, describeEnd(changed)).not.toBe(0)
      },
    )
  })

  test('a signing config of cosign’s own making is understood', async () => {
    const { folder } = await openPlace()
    const one = (url: string) =>
      `url=${url},api-version=1,start-time=2024-01-01T00:00:00Z,operator=example.com`
    const made = await attempt(
      'cosign',
      [
        'signing-config',
        'create',
        '--out',
        'config.json',
        '--fulcio',
        one('https://fulcio.example.com'),
        '--rekor',
        one('https://rekor.example.com'),
        '--rekor-config',
        'ANY',
        '--tsa',
        one('https://tsa.example.com/api/v1/timestamp'),
        '--tsa-config',
        'EXACT:1',
      ],
      { cwd: folder, env: env(folder) },
    )
    expect(made.code, describeEnd(made)).toBe(0)
    const bytes = await readFile(`${folder}/config.json`)
    const { authority, logs, timestamps } = servicesOf(bytes, 'config.json', {
      now: Date.now(),
      plainHttp: () => false,
    })
    expect(authority.host).toBe('fulcio.example.com')
    expect(logs).toMatchObject([{ version: 1 }])
    expect(timestamps.map(String)).toEqual(['https://tsa.example.com/api/v1/timestamp'])
  })
})
