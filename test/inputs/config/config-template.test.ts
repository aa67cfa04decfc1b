import fc from 'fast-check'
import { parse } from 'yaml'
import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../../src/inputs/config/config.ts'
import { CONFIG_KEYS, type Config } from '../../../src/inputs/config/schema.ts'
import { formatConfig } from '../../../src/inputs/config/template.ts'
import { anyText } from '../../support/any-text.ts'

const read = (text: string): Config => parseConfig(Buffer.from(text), 'airgap.yaml').config

/** The examples made live, as the file's head says. */
const uncommented = (text: string): string => text.replaceAll(/^#(?=\S| {2}- )/gm, '')

describe('a written config', () => {
  it('of nothing is nothing, and holds an example of every key', () => {
    const text = formatConfig({})
    expect(read(text)).toEqual({ configVersion: 1 })
    expect(Object.keys(read(uncommented(text)))).toEqual(CONFIG_KEYS)
  })

  it('explains every key before it', () => {
    const blocks = formatConfig({}).split('\n\n').slice(1)
    expect(blocks.map((block) => /^#?(\w+):/m.exec(block)?.[1])).toEqual(CONFIG_KEYS)
    for (const block of blocks) expect(block).toMatch(/^# [A-Z]/)
    for (const line of formatConfig({}).split('\n')) expect(line.length).toBeLessThanOrEqual(100)
  })

  it('names the schema in its first line, if there is one', () => {
    expect(formatConfig({}, { schema: '../airgap.schema.json' })).toMatch(
      /^# yaml-language-server: \$schema=\.\.\/airgap\.schema\.json\n/,
    )
    expect(formatConfig({})).not.toContain('$schema')
  })

  it('keeps text as text', () => {
    const words = [
      'yes',
      'no',
      'null',
      '~',
      '1.30',
      '0x10',
      '1:30',
      '2026-01-01',
      '- a',
      'a: b',
      'a #b',
      '*a',
      '&a',
      '!a',
      '@a',
      '%a',
      '"',
      "'",
      ' ',
    ]
    for (const name of words) {
      const text = formatConfig({ name })
      expect(read(text)).toEqual({ configVersion: 1, name })
      // Other tools still read YAML 1.1.
      expect(parse(text, { version: '1.1' })).toEqual({ configVersion: 1, name })
    }
  })

  it('escapes what would turn a line around', () => {
    const text = formatConfig({ name: 'a\u202eb\u{e0041}\u2028\u3164' })
    expect(text).toContain(String.raw`name: "a\u202eb\U000e0041\u2028\u3164"`)
    expect(read(text).name).toBe('a\u202eb\u{e0041}\u2028\u3164')
  })

  it('says again what was given, whatever that is', () => {
    const words = anyText({ minLength: 1, maxLength: 40 })
      // oxlint-disable-next-line no-control-regex
      .filter((text) => !/[\u0000-\u001f\u007f]/.test(text))
    const noSpace = fc.string({ minLength: 1, maxLength: 20 }).filter((text) => !/\s/.test(text))
    const part = fc.stringMatching(/^[a-z0-9]{1,9}$/)
    const image = fc
      .tuple(part, part, fc.stringMatching(/^[A-Za-z0-9_][\w.-]{0,9}$/))
      .map(([host, name, tag]) => `${host}.example:5000/${name}:${tag}`)
    const lists = { maxLength: 4 }
    const config = fc.record(
      {
        name: words,
        bundleVersion: words,
        images: fc.array(fc.oneof(image, part), lists),
        imagesFrom: fc.array(
          words.filter((text) => text !== '-'),
          lists,
        ),
        kubeadm: fc.array(fc.constantFrom('v1.36.3', '1.35.0'), lists),
        kubeadmRepository: part.map((name) => `${name}.example/k8s`),
        exclude: fc.array(noSpace, lists),
        platforms: fc.oneof(
          fc.constant(['all']),
          fc.array(fc.constantFrom('linux/amd64', 'windows(10.0.20348)/amd64'), {
            minLength: 1,
            maxLength: 3,
          }),
        ),
        rewriteDigests: fc.boolean(),
        allowMissingPlatform: fc.boolean(),
        allowMissingAttestations: fc.boolean(),
        mirrors: fc.array(
          fc.tuple(part, part).map(([a, b]) => `${a}.example=${b}.example:5000/hub`),
          lists,
        ),
        resolveFrom: fc.constantFrom('source' as const, 'mirror' as const),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(config, (given) => {
        expect(read(formatConfig(given as Config))).toEqual({ configVersion: 1, ...given })
      }),
      { numRuns: 60 },
    )
  })
})
