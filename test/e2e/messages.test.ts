import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { RegistryClient, type RegistryOptions } from '../../src/registry/client.ts'
import type { Repository } from '../../src/registry/repository.ts'
import { resolveImages } from '../../src/pack/resolve-images.ts'
import { makeCertificates, type Certificates } from './parts/certificates.ts'
import { run } from './parts/processes.ts'
import { startDistribution3, startDockerRegistry, USER } from './parts/registries.ts'
import { has, withParts } from './parts/tools.ts'

/** That the words by which causes are told apart are the ones that real registries use. */
withParts('messages', ['docker-registry', 'registry', 'openssl', 'htpasswd'], () => {
  let folder: string
  let certificates: Certificates

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'airgap-messages-'))
    certificates = await makeCertificates(folder)
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const kinds = [
    { kind: 'docker-registry', start: startDockerRegistry },
    { kind: 'distribution 3', start: startDistribution3 },
  ]

  function clientWith(options: RegistryOptions = {}): RegistryClient {
    const client = new RegistryClient({ env: {}, retry: { baseDelayMs: 1 }, ...options })
    onTestFinished(() => client.close())
    return client
  }

  async function errorOf(action: Promise<unknown>): Promise<AirgapError> {
    const error = await action.then(
      () => undefined,
      (fault: unknown) => fault,
    )
    if (error instanceof AirgapError) return error
    throw new Error('expected an AirgapError', { cause: error })
  }

  function upload(repository: Repository, bytes: Buffer): Promise<void> {
    return repository.uploadBlob({ digest: digestOf(bytes), size: bytes.length }, async function* () {
      yield bytes
    })
  }

  async function storeIn(name: string): Promise<string> {
    const store = join(folder, name)
    await mkdir(store)
    return store
  }

  test.each(kinds)('$kind: a full disk, a missing part, a missing name', async ({ kind, start }) => {
    const store = await storeIn(`full ${kind}`)
    // Without the right to mount there is room enough, and one message less to see.
    const isSmall = has('tmpfs')
    if (isSmall) {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', store])
      onTestFinished(() => void execFileSync('umount', ['-l', store]))
    }
    await using registry = await start({ store, scratch: folder })
    const client = clientWith()
    const repository = client.repository(registry.host, 'team/app')
    const config = Buffer.from('{}')
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: 2 },
        layers: [],
      }),
    )
    const manifest = {
      bytes,
      digest: digestOf(bytes),
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
    }
    expect((await errorOf(repository.putManifest('1.0.0', manifest))).message).toContain(
      'the registry does not have a part of this manifest: ',
    )
    await upload(repository, config)
    await repository.putManifest('1.0.0', manifest)
    if (isSmall) {
      const full = await errorOf(upload(repository, Buffer.alloc(700_000, 1)))
      expect(full.message).toMatch(/: the disk of the registry is full: .*no space left on device/)
    }
    const resolving = (name: string): Promise<unknown> =>
      resolveImages({
        images: [{ reference: parseReference(`${registry.host}/${name}`), from: [] as never }],
        platforms: 'all',
        client,
      })
    expect((await errorOf(resolving('team/app:1.0.1'))).message).toContain(
      'the registry has no such tag, but it has 1.0.0: ',
    )
    expect((await errorOf(resolving('team/ap:1.0.0'))).message).toContain(
      'the registry has no repository of this name: ',
    )
  })

  test.each(kinds)('$kind: read-only', async ({ kind, start }) => {
    await using registry = await start({
      store: await storeIn(`ro ${kind}`),
      scratch: folder,
      readOnly: true,
    })
    const error = await errorOf(upload(clientWith().repository(registry.host, 'app'), Buffer.from('x')))
    expect(error.message).toContain('the registry is read-only here: ')
  })

  test.each(kinds)(
    '$kind: an unknown authority, nobody logged in, a wrong password',
    async ({ kind, start }) => {
      await using registry = await start({
        store: await storeIn(`tls ${kind}`),
        scratch: folder,
        certificates,
      })
      const { host } = registry
      const fingerprint = await run('openssl', [
        'x509',
        '-in',
        certificates.certificate,
        '-noout',
        '-fingerprint',
        '-sha256',
      ])
      const strange = await errorOf(clientWith().repository(host, 'app').fetchManifest('1'))
      expect(strange.message).toContain('not trusted here, "CN=airgap test authority"')
      expect(strange.hint?.replaceAll(/\s/g, '')).toContain(fingerprint.replace(/^[^=]*=/, '').trim())

      const caFile = certificates.ca
      const nobody = await errorOf(clientWith({ caFile }).repository(host, 'app').fetchManifest('1'))
      expect(nobody.message).toContain('credentials are needed: ')

      const authFile = join(folder, `auth ${kind}.json`)
      const auth = Buffer.from(`${USER}:wrong`).toString('base64')
      await writeFile(authFile, JSON.stringify({ auths: { [host]: { auth } } }))
      const wrong = await errorOf(clientWith({ caFile, authFile }).repository(host, 'app').fetchManifest('1'))
      expect(wrong.message).toContain(`the credentials of "${USER}" from ${authFile} are not accepted: `)
    },
  )
})
