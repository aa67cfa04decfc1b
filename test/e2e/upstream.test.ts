import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEnd, type Airgap } from './parts/airgap.ts'
import { buildWithCrane, Cosign, openCosignWorld } from './parts/cosign.ts'
import { run } from './parts/processes.ts'
import { startFresh } from './parts/registries.ts'
import { withParts } from './parts/tools.ts'

const POLICY = `type: dev.airgap.upstream-policy
formatVersion: '1.0'
rules:
  - pattern: '*/team/app'
    keys: [cosign.pub]
`

withParts(
  'what upstreams have signed with cosign',
  ['cosign', 'crane', 'docker-registry', 'registry', 'tar', 'network namespaces'],
  () => {
    let folder: string
    let world: Awaited<ReturnType<typeof openCosignWorld>>
    let airgap: Airgap
    let cosign: Cosign

    beforeAll(async () => {
      world = await openCosignWorld()
      ;({ folder, airgap, cosign } = world)
      await writeFile(join(folder, 'upstream.yaml'), POLICY)
    })
    afterAll(() => world?.[Symbol.asyncDispose]())

    test.each([
      ['docker-registry', 'tag'],
      ['docker-registry', 'bundle'],
      ['distribution 3', 'tag'],
      ['distribution 3', 'bundle'],
    ] as const)(
      '%s, as a %s: verified outside, and again inside without a network',
      async (kind, layout) => {
        await using source = await startFresh(kind, folder)
        const work = await mkdtemp(join(folder, 'work-'))
        const name = `${source.host}/team/app:1`
        const digest = await buildWithCrane(work, name)
        const bundle = join(work, 'app.tar')
        const pack = ['pack', name, '-o', bundle, '--key', 'airgap.key', '--plain-http', source.host]
        const checked = [...pack, '--verify-upstream', 'upstream.yaml']

        const unsigned = await airgap.attempt(...checked)
        expect(unsigned.code, describeEnd(unsigned)).toBe(3)
        expect(unsigned.stderr).toContain('there is none')

        await cosign.attest(`${source.host}/team/app@${digest}`, layout)
        const attested = await airgap.attempt(...checked)
        expect(attested.code, describeEnd(attested)).toBe(3)

        await cosign.sign(`${source.host}/team/app@${digest}`, layout)
        const one = ['--platform', 'linux/amd64', '--referrers', 'none']
        const { images } = await airgap.json<{ images: { upstream: object }[] }>(...checked, ...one)
        expect(images).toMatchObject([
          {
            referrers: [{ subject: digest }],
            upstream: {
              state: 'verified',
              subject: digest,
              signature: { form: layout === 'tag' ? 'simple-signing' : 'sigstore-bundle' },
            },
          },
        ])

        const verify = ['verify', bundle, '--key', 'airgap.pub', '--upstream-policy', 'upstream.yaml']
        const inside = await airgap.attemptOffline(...verify, '--json')
        expect(inside.code, describeEnd(inside)).toBe(0)
        expect(JSON.parse(inside.stdout)).toMatchObject({
          upstream: [{ state: 'verified', basis: 'policy', covers: 'source', subject: digest }],
        })

        // Another upstream's key, and the policy inside notices it.
        const other = await mkdtemp(join(folder, 'other-'))
        await Cosign.withKey(other)
        await writeFile(join(other, 'upstream.yaml'), POLICY)
        const stranger = await airgap.attemptOffline(...verify.slice(0, -1), join(other, 'upstream.yaml'))
        expect(stranger.code, describeEnd(stranger)).toBe(3)
        expect(stranger.stderr).toContain('another key')
      },
      120_000,
    )

    test('one changed byte of a signature is noticed', { timeout: 120_000 }, async () => {
      await using source = await startFresh('distribution 3', folder)
      const work = await mkdtemp(join(folder, 'work-'))
      const name = `${source.host}/team/app:1`
      const digest = await buildWithCrane(work, name)
      await cosign.sign(`${source.host}/team/app@${digest}`, 'tag')
      const tag = `${source.host}/team/app:${digest.replace(':', '-')}.sig`
      const manifest = await run('crane', ['manifest', tag])
      const [, signature = ''] = /"dev\.cosignproject\.cosign\/signature":"([^"]+)"/.exec(manifest) ?? []
      const bytes = Buffer.from(signature, 'base64')
      bytes[40] = (bytes[40] ?? 0) ^ 1
      const altered = manifest.replace(signature, bytes.toString('base64'))
      expect(altered).not.toBe(manifest)
      const answer = await fetch(
        `http://${tag.replace('/', '/v2/').replace(/:(?=sha256-)/, '/manifests/')}`,
        {
          method: 'PUT',
          headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
          body: altered,
        },
      )
      expect(answer.status).toBe(201)
      const policy = ['--verify-upstream', 'upstream.yaml', '--plain-http', source.host]
      const refused = await airgap.attempt('pack', name, '-o', join(work, 'b.tar'), '--no-sign', ...policy)
      expect(refused.code, describeEnd(refused)).toBe(3)
      expect(refused.stderr).toContain('another key than the one required, or it was altered')
      expect(await readFile(join(work, 'b.tar')).catch(() => undefined)).toBeUndefined()
    })
  },
)
