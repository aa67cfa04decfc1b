import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startRegistry } from '../support/registry/registry.ts'
import { describeEnd, type Airgap } from './parts/airgap.ts'
import { buildWithCrane, Cosign, openCosignWorld } from './parts/cosign.ts'
import { run } from './parts/processes.ts'
import { startFresh, type Registry } from './parts/registries.ts'
import { startServing } from './parts/serving.ts'
import { withParts } from './parts/tools.ts'

const SPDX = 'application/spdx+json'

interface Receipt {
  complete: boolean
  images: { referrers?: { tag?: string; outcome: string; foundBy?: string; mergedInto?: string }[] }[]
}

/** Where images come from, and where they go: each with and without what the other one has. */
const WAYS = [
  ['docker-registry', 'distribution 3'],
  ['distribution 3', 'docker-registry'],
  ['docker-registry', 'a registry with a list of referrers'],
] as const

withParts(
  'what travels along',
  ['cosign', 'crane', 'regctl', 'docker-registry', 'registry', 'tar', 'setpriv'],
  () => {
    let folder: string
    let world: Awaited<ReturnType<typeof openCosignWorld>>
    let airgap: Airgap
    let cosign: Cosign

    beforeAll(async () => {
      world = await openCosignWorld()
      ;({ folder, airgap, cosign } = world)
    })
    afterAll(() => world?.[Symbol.asyncDispose]())

    const start: Record<string, () => Promise<Registry | Awaited<ReturnType<typeof startRegistry>>>> = {
      'docker-registry': () => startFresh('docker-registry', folder),
      'distribution 3': () => startFresh('distribution 3', folder),
      'a registry with a list of referrers': () => startRegistry(),
    }

    const regctl = (...args: string[]): Promise<string> =>
      run('regctl', args, { env: { PATH: process.env['PATH'], HOME: folder } })

    /** An image with everything that its makers can attach to it. */
    async function signOutside(host: string): Promise<{ name: string; digest: string }> {
      const built = await mkdtemp(join(folder, 'image-'))
      const name = `${host}/team/app:1`
      const digest = await buildWithCrane(built, name)
      const pinned = `${host}/team/app@${digest}`
      await cosign.sign(pinned, 'tag', '--recursive')
      await cosign.sign(pinned, 'bundle', '--recursive')
      await cosign.attest(pinned, 'tag')
      await cosign.attest(pinned, 'bundle')
      await writeFile(join(built, 'sbom.json'), '{"spdxVersion":"SPDX-2.3"}')
      await cosign.run(
        'attach',
        'sbom',
        '--sbom',
        join(built, 'sbom.json'),
        '--type',
        'spdx',
        '--input-format',
        'json',
        pinned,
      )
      await regctl('registry', 'set', host, '--tls', 'disabled')
      await regctl(
        'artifact',
        'put',
        '-f',
        join(built, 'sbom.json'),
        '-m',
        SPDX,
        '--artifact-type',
        SPDX,
        '--subject',
        name,
      )
      return { name, digest }
    }

    async function pushTo(bundle: string, host: string, ...flags: string[]): Promise<Receipt> {
      const receipt = join(await mkdtemp(join(folder, 'receipt-')), 'receipt.json')
      const to = ['--key', 'airgap.pub', '--path', 'strip-host', '--plain-http', host, '--receipt', receipt]
      return airgap.json<Receipt>('push', bundle, host, ...to, ...flags)
    }

    async function expectAllFound(pinned: string, sbomOf: string): Promise<void> {
      for (const layout of ['tag', 'bundle'] as const) {
        await cosign.verify(pinned, layout)
        await cosign.verifyAttestation(pinned, layout)
      }
      expect(await cosign.run('download', 'sbom', pinned)).toContain('SPDX-2.3')
      const host = pinned.slice(0, pinned.indexOf('/'))
      await regctl('registry', 'set', host, '--tls', 'disabled')
      const list = await regctl(
        'artifact',
        'list',
        sbomOf,
        '--format',
        '{{range .Descriptors}}{{println .ArtifactType}}{{end}}',
      )
      expect(list.trim().split('\n').toSorted()).toEqual([
        SPDX,
        'application/vnd.dev.sigstore.bundle.v0.3+json',
        'application/vnd.dev.sigstore.bundle.v0.3+json',
      ])
    }

    describe.each(WAYS)('from %s into %s', (from, to) => {
      test(
        'signatures, attestations and SBOMs are found inside as they were outside',
        { timeout: 120_000 },
        async () => {
          await using source = await start[from]!()
          await using target = await start[to]!()
          const { name, digest } = await signOutside(source.host)
          const bundle = join(await mkdtemp(join(folder, 'bundle-')), 'app.tar')
          await airgap.run('pack', name, '-o', bundle, '--key', 'airgap.key', '--plain-http', source.host)
          const evidence = await airgap.run('verify', bundle, '--key', 'airgap.pub')
          expect(evidence).toMatch(/attached\s+3 signatures, 4 Sigstore bundles, 1 attestation, 2 SBOMs/)

          const receipt = await pushTo(bundle, target.host)
          expect(receipt.complete).toBe(true)
          const outcomes = receipt.images[0]!.referrers!.map(
            ({ outcome, foundBy }) => `${outcome} ${foundBy}`,
          )
          expect(outcomes).toHaveLength(10)
          const hasList = to.includes('list')
          expect(new Set(outcomes)).toEqual(
            new Set(hasList ? ['uploaded tag', 'uploaded listed'] : ['uploaded tag']),
          )
          const pinned = `${target.host}/team/app@${digest}`
          await expectAllFound(pinned, `${target.host}/team/app:1`)
          // What stands under cosign's tags is what stood there.
          for (const kind of ['sig', 'att', 'sbom']) {
            const tag = `team/app:${digest.replace(':', '-')}.${kind}`
            const [outside, inside] = [source, target].map(({ host }) =>
              run('crane', ['digest', `${host}/${tag}`]),
            )
            expect(await inside).toBe(await outside)
          }
        },
      )
    })

    test(
      'one platform of it: its own signatures are found, those of the index stay in the bundle',
      { timeout: 120_000 },
      async () => {
        await using source = await start['distribution 3']!()
        await using target = await start['docker-registry']!()
        const { name } = await signOutside(source.host)
        const bundle = join(await mkdtemp(join(folder, 'bundle-')), 'part.tar')
        const one = ['--platform', 'linux/arm64', '--plain-http', source.host]
        await airgap.run('pack', name, '-o', bundle, '--key', 'airgap.key', ...one)
        const receipt = await pushTo(bundle, target.host)
        const outcomes = receipt.images[0]!.referrers!.map(({ outcome }) => outcome)
        expect(outcomes.filter((outcome) => outcome === 'uploaded')).toHaveLength(2)
        expect(outcomes.filter((outcome) => outcome === 'not-delivered')).toHaveLength(6)
        const digest = (await run('crane', ['digest', `${target.host}/team/app:1`])).trim()
        for (const layout of ['tag', 'bundle'] as const) {
          await cosign.verify(`${target.host}/team/app@${digest}`, layout)
        }
      },
    )

    test(
      'a signature of our own that is there already stays beside the upstream’s',
      { timeout: 120_000 },
      async () => {
        await using source = await start['docker-registry']!()
        await using target = await start['docker-registry']!()
        const { name, digest } = await signOutside(source.host)
        const bundle = join(await mkdtemp(join(folder, 'bundle-')), 'app.tar')
        await airgap.run('pack', name, '-o', bundle, '--key', 'airgap.key', '--plain-http', source.host)
        await pushTo(bundle, target.host, '--referrers', 'none')
        const pinned = `${target.host}/team/app@${digest}`
        const before = await cosign.attempt('verify', '--insecure-ignore-tlog', '--key', 'cosign.pub', pinned)
        expect(before.code, describeEnd(before)).not.toBe(0)
        const own = await mkdtemp(join(folder, 'own-'))
        await mkdir(own, { recursive: true })
        const ours = await Cosign.withKey(own)
        await ours.sign(pinned, 'tag')
        await ours.sign(pinned, 'bundle')
        const receipt = await pushTo(bundle, target.host)
        expect(
          receipt.images[0]!.referrers!.filter(({ mergedInto }) => mergedInto !== undefined),
        ).toHaveLength(1)
        for (const layout of ['tag', 'bundle'] as const) {
          await cosign.verify(pinned, layout)
          await ours.verify(pinned, layout)
        }
      },
    )

    test('airgap serve lists it, too', { timeout: 120_000 }, async () => {
      await using source = await start['docker-registry']!()
      const { name, digest } = await signOutside(source.host)
      const bundle = join(await mkdtemp(join(folder, 'bundle-')), 'app.tar')
      await airgap.run('pack', name, '-o', bundle, '--key', 'airgap.key', '--plain-http', source.host)
      await using serving = await startServing(airgap, bundle, '--key', 'airgap.pub')
      await expectAllFound(`${serving.host}/team/app@${digest}`, `${serving.host}/team/app:1`)
    })
  },
)
