import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeEnd, KEY_PASSWORD, RUN_JS } from './parts/airgap.ts'
import { BUSYBOX, CHART } from './parts/images.ts'
import { attempt, type Ended } from './parts/processes.ts'
import { withParts } from './parts/tools.ts'
import { openWorld, WORLD_PARTS, type World } from './parts/world.ts'

const PAGE = join(import.meta.dirname, '../../docs/verifying.md')

/** The blocks of the page: the paragraph that sets the variables, and the steps behind it. */
async function blocks(): Promise<{ given: string; steps: string[] }[]> {
  const page = await readFile(PAGE, 'utf8')
  return [...page.matchAll(/```bash\n([^]*?)```/g)].map(([, block = '']) => {
    const [given = '', ...steps] = block.trim().split('\n\n')
    return { given, steps }
  })
}

/** The steps of the block that takes a variable. */
async function stepsOf(variable: string): Promise<string[]> {
  return (await blocks()).find(({ given }) => given.includes(variable))?.steps ?? []
}

withParts("an auditor's day", WORLD_PARTS, () => {
  let world: World
  let bundle: string
  let folder: string

  /** Runs a step as it is written, with the variables that its block begins with. */
  async function follow(step: string, variables: Record<string, string>): Promise<Ended> {
    return attempt('bash', ['-euo', 'pipefail', '-c', step], {
      cwd: folder,
      env: {
        PATH: `${world.path('bin')}:${process.env['PATH']}`,
        HOME: folder,
        AIRGAP_REPORT_PASSWORD: KEY_PASSWORD,
        ...variables,
      },
    })
  }

  beforeAll(async () => {
    world = await openWorld()
    ;({ bundle } = await world.pack('audited', [BUSYBOX, CHART]))
    folder = await mkdtemp(join(world.folder, 'audit-'))
    await mkdir(world.path('bin'))
    await writeFile(world.path('bin/airgap'), `#!/bin/sh\nexec '${process.execPath}' '${RUN_JS}' "$@"\n`)
    await chmod(world.path('bin/airgap'), 0o755)
    await world.airgap.run('keygen', '--output-key-prefix', 'auditor')
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  test('the page has the blocks that are followed here, and says which variables they take', async () => {
    expect((await blocks()).map(({ given, steps }) => [given, steps.length])).toEqual([
      ['bundle=/media/k8s.tar key=/keys/airgap.pub auditor=/keys/auditor', 2],
      ['bundle=/media/k8s.tar report=/archive/k8s.report.json', 2],
      ['file=/archive/k8s.report.json key=/keys/auditor.pub', 2],
    ])
  })

  test('the procedure: the fingerprint, then a verification that is put on record', async () => {
    const steps = await stepsOf('auditor=')
    const variables = { bundle, key: world.publicKey, auditor: world.path('auditor') }
    const results: Ended[] = []
    for (const step of steps) {
      const result = await follow(step, variables)
      expect(result.code, describeEnd(result)).toBe(0)
      results.push(result)
    }
    const report = JSON.parse(await readFile(join(folder, 'k8s.report.json'), 'utf8')) as {
      verdict: string
      trusted: { keys: { fingerprint: string }[] }
    }
    expect(report.verdict).toBe('good')
    expect(results[0]?.stdout.slice(0, 64)).toBe(report.trusted.keys[0]?.fingerprint)
  })

  test('the report is about this file, and about no other', async () => {
    const steps = await stepsOf('report=')
    const other = (await world.pack('other', [CHART])).bundle
    for (const step of steps) {
      const report = join(folder, 'k8s.report.json')
      const result = await follow(step, { bundle, report })
      expect(result.code, describeEnd(result)).toBe(0)
      expect((await follow(step, { bundle: other, report })).code).toBe(1)
    }
  })

  describe.each(['cosign', 'openssl'] as const)('%s', (tool) => {
    withParts('is there', [tool], () => {
      const check = async (file: string, key = world.path('auditor.pub')): Promise<Ended> => {
        const steps = await stepsOf('file=')
        const step = steps.find((one) => one.startsWith(`${tool} `))
        if (step === undefined) throw new Error(`no step for ${tool}`)
        return follow(step, { file, key })
      }

      test('accepts a report as it was written, and no other one', async () => {
        const file = join(folder, 'k8s.report.json')
        const good = await check(file)
        expect(good.code, describeEnd(good)).toBe(0)
        expect((await check(file, world.publicKey)).code).not.toBe(0)
        const edited = join(folder, `edited-${tool}.json`)
        const text = await readFile(file, 'utf8')
        await writeFile(edited, text.replace('"verdict": "good"', '"verdict":  "good"'))
        for (const suffix of ['.sigstore.json', '.sig'])
          await writeFile(`${edited}${suffix}`, await readFile(`${file}${suffix}`))
        expect((await check(edited)).code).not.toBe(0)
      })

      test('accepts receipt and report of a push', async () => {
        const target = await world.target()
        const receipt = join(folder, `pushed-${tool}.receipt.json`)
        const signing = ['--receipt', receipt, '--receipt-key', world.path('auditor.key')]
        await world.airgap.run(
          'push',
          bundle,
          target.host,
          '--key',
          world.publicKey,
          ...signing,
          ...world.writing,
        )
        for (const file of [receipt, receipt.replace('receipt.json', 'report.json')]) {
          const result = await check(file)
          expect(result.code, describeEnd(result)).toBe(0)
        }
      })
    })
  })
})
