import { toJsonSchema } from '@valibot/to-json-schema'
import { Ajv, type ValidateFunction } from 'ajv'
import fc from 'fast-check'
import { parse } from 'yaml'
import { beforeAll, describe, expect, it } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import published from '../../../src/inputs/config/airgap-config.schema.json' with { type: 'json' }
import { parseConfig } from '../../../src/inputs/config/config.ts'
import { CONFIG_KEYS, ConfigSchema, descriptionOf, exampleOf } from '../../../src/inputs/config/schema.ts'

const schema = {
  title: 'Config of airgap (airgap.yaml)',
  // The draft that yaml-language-server reads best. What only the parsers of images and platforms know stays out.
  ...toJsonSchema(ConfigSchema, { target: 'draft-07', ignoreActions: ['raw_check', 'check'] }),
}

it.each(['docs/schemas/airgap-config.schema.json', 'src/inputs/config/airgap-config.schema.json'])(
  '%s is the schema in the code (vitest -u renews it)',
  async (file) => {
    await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(`../../../${file}`)
  },
)

function isTaken(text: string): boolean {
  try {
    parseConfig(Buffer.from(text), 'airgap.yaml')
    return true
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'INVALID_CONFIG') return false
    throw error
  }
}

describe('the schema that editors have, and the command', () => {
  let validate: ValidateFunction
  beforeAll(() => {
    validate = new Ajv({ strict: true }).compile(published)
  })

  it.each(CONFIG_KEYS)('%s is described, and its example can be used', (key) => {
    expect(descriptionOf(key)).toMatch(/^[^]+[.)]$/)
    expect(validate({ configVersion: 1, [key]: exampleOf(key) })).toBe(true)
    expect(isTaken(JSON.stringify({ configVersion: 1, [key]: exampleOf(key) }))).toBe(true)
  })

  it.each([
    ['configVersion: 1', true],
    ['', false],
    ['[]', false],
    ['name: x', false],
    ['configVersion: 2', false],
    ['configVersion: "1"', false],
    ['configVersion: 1.0', true],
    ['configVersion: 1\nname: x', true],
    ['configVersion: 1\nname: ""', false],
    ['configVersion: 1\nname: 1', false],
    ['configVersion: 1\nname: ~', false],
    ['configVersion: 1\nname: "a\\nb"', false],
    ['configVersion: 1\nname: "a b \\u00e9"', true],
    ['configVersion: 1\nimages: []', true],
    ['configVersion: 1\nimages: nginx', false],
    ['configVersion: 1\nimages: [nginx, 1]', false],
    ['configVersion: 1\nimages: [""]', false],
    ['configVersion: 1\nplatforms: []', false],
    ['configVersion: 1\nplatforms: [linux/amd64]', true],
    ['configVersion: 1\nplatforms: {linux: amd64}', false],
    ['configVersion: 1\nrewriteDigests: true', true],
    ['configVersion: 1\nrewriteDigests: "true"', false],
    ['configVersion: 1\nresolveFrom: source', true],
    ['configVersion: 1\nresolveFrom: both', false],
    ['configVersion: 1\nkey: airgap.key', false],
    ['configVersion: 1\nplatform: [linux/amd64]', false],
    ['configVersion: 1\n__proto__: {}', false],
  ])('agree on %j', (text, verdict) => {
    expect([validate(parse(text)), isTaken(text)]).toEqual([verdict, verdict])
  })

  it('agree on the shape of any mapping', () => {
    const text = fc.constantFrom('nginx:1.29', '', 'linux/amd64', 'v1.36.3', 'source', 'a=b.example')
    const value = fc.oneof(
      text,
      fc.boolean(),
      fc.constantFrom(null, 0, 1, 1.5),
      fc.array(text, { maxLength: 2 }),
      fc.constant({}),
    )
    const key = fc.constantFrom(...CONFIG_KEYS, 'key', 'platform')
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value), { maxLength: 3 }), (entries) => {
        const config = { configVersion: 1, ...Object.fromEntries(entries) }
        // What the parser takes, the schema takes. What only the schema takes, it cannot know: a bad name.
        if (isTaken(JSON.stringify(config))) expect(validate(config)).toBe(true)
        else if (validate(config))
          expect(() => parseConfig(Buffer.from(JSON.stringify(config)), 'c')).toThrow(
            /: (?:item \d of )?\w+: |mistakes/,
          )
      }),
      { numRuns: 1000 },
    )
  })
})
