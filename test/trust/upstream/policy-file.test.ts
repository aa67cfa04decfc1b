import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toJsonSchema } from '@valibot/to-json-schema'
import { Ajv, type AnySchema } from 'ajv'
import fc from 'fast-check'
import { parse } from 'yaml'
import { describe, expect, it, test } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import {
  parseUpstreamPolicy,
  readUpstreamPolicies,
  UpstreamPolicySchema,
} from '../../../src/trust/upstream/policy-file.ts'
import { ruleFor } from '../../../src/trust/upstream/rule.ts'
import { temporaryFolder } from '../../support/build-bundle.ts'
import { makeKeyUpstream } from './signing.ts'

const schema = {
  title: "Policy of airgap for upstreams' signatures",
  // What only parsers know stays out.
  ...toJsonSchema(UpstreamPolicySchema, { target: 'draft-07', ignoreActions: ['raw_check', 'check'] }),
}

test('docs/schemas/upstream-policy.schema.json is the schema in the code (vitest -u renews it)', async () => {
  await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(
    '../../../docs/schemas/upstream-policy.schema.json',
  )
})

const HEAD = "type: dev.airgap.upstream-policy\nformatVersion: '1.0'\n"
const read = (rules: string, head = HEAD) => parseUpstreamPolicy(Buffer.from(head + rules), 'upstream.yaml')

async function faultsOf(rules: string, head = HEAD): Promise<string> {
  const error = await read(rules, head).then(
    () => expect.unreachable('it should have been refused'),
    (thrown: unknown) => thrown as AirgapError,
  )
  expect(error).toBeInstanceOf(AirgapError)
  expect(error.code).toBe('INVALID_POLICY')
  return [error.message, ...error.problems.map(({ entry, message }) => `${entry}: ${message}`)].join('\n')
}

test('the policy that docs/trust.md shows is one', async () => {
  const page = await readFile(new URL('../../../docs/trust.md', import.meta.url), 'utf8')
  const [, block = ''] = /<!-- a test reads this block -->\n\n```yaml\n([^]+?)```/.exec(page) ?? []
  const folder = await temporaryFolder()
  const { pem } = makeKeyUpstream()
  for (const name of ['vendor-2025.pub', 'vendor-2026.pub', 'hub.pub'])
    await writeFile(join(folder, name), pem)
  const { rules } = await parseUpstreamPolicy(Buffer.from(block), join(folder, 'policy.yaml'))
  expect(rules.map(({ demand }) => demand.kind)).toEqual([
    'skip',
    'signature',
    'signature',
    'signature',
    'skip',
  ])
})

test('the first rule whose pattern fits is the one that applies', async () => {
  const policy = await read(
    "rules:\n- {pattern: 'example.test/a/*', skip: one}\n- {pattern: 'example.test/*', skip: two}\n",
  )
  const skipOf = (image: string): unknown => ruleFor(policy, parseReference(image))?.demand
  expect(skipOf('example.test/a/b:1')).toEqual({ kind: 'skip', reason: 'one' })
  expect(skipOf('example.test/b:1')).toEqual({ kind: 'skip', reason: 'two' })
  expect(skipOf('example.test.evil/b:1')).toBeUndefined()
  expect(skipOf('registry.k8s.io/pause:3.10')).toBeUndefined()
  expect(policy.rules[1]?.place).toBe('upstream.yaml:5:3')
})

test('a preset and files together count in the order given', async () => {
  const { rules } = await readUpstreamPolicies(['kubernetes'])
  expect(rules).toMatchObject([{ pattern: 'registry.k8s.io/*', preset: 'kubernetes' }])
  expect(rules[0]?.matches(parseReference('registry.k8s.io/sig-storage/csi-attacher:v4'))).toBe(true)
  expect(rules[0]?.matches(parseReference('registry.k8s.io.evil/pause:3'))).toBe(false)
  const error = await readUpstreamPolicies(['kubernets']).catch((thrown: unknown) => thrown as AirgapError)
  expect(error).toMatchObject({ code: 'FILE', hint: expect.stringContaining('kubernetes') as string })
})

test('a key may stand in the file itself, and be one of several', async () => {
  const [one, two] = [makeKeyUpstream(), makeKeyUpstream()]
  const pem = (text: string): string => JSON.stringify(text)
  const { rules } = await read(
    `rules:\n- pattern: '*'\n  dockerReference: match\n  keys: [{pem: ${pem(one.pem)}}, {pem: ${pem(two.pem)}}]\n`,
  )
  expect(rules[0]?.demand).toMatchObject({
    by: { keys: [{ fingerprint: one.key.fingerprint }, { fingerprint: two.key.fingerprint }] },
    onFailure: 'fail',
    dockerReference: 'match',
  })
})

describe('a policy is refused', () => {
  it.each([
    ['that is none', 'rules: []\n', '', /lacks the key type/],
    ['without rules', 'rules: []\n', HEAD, /rules is empty/],
    ['with a rule that says nothing', "rules:\n- {pattern: '*'}\n", HEAD, /neither who signs/],
    [
      'that skips and verifies',
      "rules:\n- {pattern: '*', skip: x, onFailure: warn}\n",
      HEAD,
      /keep only one/,
    ],
    ['with half an identity', "rules:\n- {pattern: '*', identities: [{identity: a}]}\n", HEAD, /issuer/],
    ['with a key that is not there', "rules:\n- {pattern: '*', keys: [none.pub]}\n", HEAD, /none\.pub/],
    ['with a pattern that is none', "rules:\n- {pattern: 'a b', skip: x}\n", HEAD, /not a pattern/],
    ['with a key twice', "rules:\n- {pattern: '*', skip: x, skip: y}\n", HEAD, /given twice/],
    ['with an alias', "rules:\n- &a {pattern: '*', skip: x}\n- *a\n", HEAD, /alias/],
    [
      'with a word of other tools',
      "rules:\n- {pattern: '*', identities: [{subject: a, issuer: b}]}\n",
      HEAD,
      /there is no key "subject" in .*; did you mean identity\?/,
    ],
    ['with a word that is none', "rules:\n- {pattern: '*', key: x}\n", HEAD, /did you mean/],
    [
      'with another way to fail',
      "rules:\n- {pattern: '*', keys: [a], onFailure: ignore}\n",
      HEAD,
      /fail or warn/,
    ],
    [
      'with a regular expression that is none',
      "rules:\n- {pattern: '*', identities: [{identityRegexp: '(', issuer: b}]}\n",
      HEAD,
      /regular expression/,
    ],
  ])('%s', async (_, rules, head, words) => {
    expect(await faultsOf(rules, head)).toMatch(words)
  })

  test('and whatever it holds, by nothing but a policy’s own error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (text) => {
        await expect(read(text, '')).rejects.toMatchObject({ code: 'INVALID_POLICY' })
      }),
      { numRuns: 100 },
    )
  })
})

test('the published schema takes what is read', () => {
  const validate = new Ajv({ strict: true }).compile(schema as AnySchema)
  const good = `${HEAD}rules:\n- {pattern: '*', keys: [a.pub]}\n- {pattern: '*', skip: x}\n`
  expect(validate(parse(good))).toBe(true)
  expect(validate(parse(`${HEAD}rules:\n- {skip: x}\n`))).toBe(false)
})
