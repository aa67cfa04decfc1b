import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import { messageWith } from '../../../src/cli/words/hints.ts'
import { checkConfig, parseConfig, readConfig } from '../../../src/inputs/config/config.ts'
import { CONFIG_KEYS } from '../../../src/inputs/config/schema.ts'

const read = (text: string | Uint8Array) => parseConfig(Buffer.from(text), 'airgap.yaml')

function errorOf(text: string | Uint8Array): AirgapError {
  try {
    read(text)
  } catch (error) {
    expect(error).toBeInstanceOf(AirgapError)
    return error as AirgapError
  }
  throw new Error('it was taken')
}

/** The key that a config with this unknown key is asked about. */
function nearestKey(key: string): string | undefined {
  const [fault = ''] = faults(`configVersion: 1\n${JSON.stringify(key)}: x\n`)
  return /did you mean (\w+)\?$/.exec(fault)?.[1]
}

/** Every fault as `LINE:COLUMN: message`. */
function faults(text: string | Uint8Array): string[] {
  const error = errorOf(text)
  const { code, exitCode, message, problems } = error
  expect(code).toBe('INVALID_CONFIG')
  expect(exitCode).toBe(2)
  const lines =
    problems.length === 0
      ? [
          messageWith(
            message,
            error.hints.filter((hint) => typeof hint === 'string' || hint.id !== 'config-keys'),
          ),
        ]
      : problems.map(({ entry, message, hints }) => `${entry}: ${messageWith(message, hints)}`)
  return lines.map((line) => line.replace(/^airgap\.yaml:(?= |\d)/, '').trim())
}

const FULL = `configVersion: 1
name: apps
bundleVersion: "1.30"
images:
  - nginx:1.29
  - registry.example:5000/a/b@sha256:${'a'.repeat(64)}
imagesFrom: [lists/a.txt, /srv/b.txt]
kubeadm: [v1.36.3, 1.36.0]
kubeadmRepository: registry.example/k8s
exclude:
  - "*-debug"
platforms:
  - linux/amd64
  - linux/arm/v7
rewriteDigests: true
allowMissingPlatform: false
allowMissingAttestations: true
referrers: signatures
mirrors:
  - docker.io=mirror.example:5000/hub
resolveFrom: mirror
`

describe('a config', () => {
  it('says what its keys say', () => {
    expect(read(FULL).config).toEqual({
      configVersion: 1,
      name: 'apps',
      bundleVersion: '1.30',
      images: ['nginx:1.29', `registry.example:5000/a/b@sha256:${'a'.repeat(64)}`],
      imagesFrom: ['lists/a.txt', '/srv/b.txt'],
      kubeadm: ['v1.36.3', '1.36.0'],
      kubeadmRepository: 'registry.example/k8s',
      exclude: ['*-debug'],
      platforms: ['linux/amd64', 'linux/arm/v7'],
      rewriteDigests: true,
      allowMissingPlatform: false,
      allowMissingAttestations: true,
      referrers: 'signatures',
      mirrors: ['docker.io=mirror.example:5000/hub'],
      resolveFrom: 'mirror',
    })
    expect(Object.keys(read(FULL).config)).toEqual(CONFIG_KEYS)
  })

  it('knows where each value stands', () => {
    const { place } = read(FULL)
    expect(place('images', 1)).toBe('airgap.yaml:6:5')
    expect(place('imagesFrom', 1)).toBe('airgap.yaml:7:27')
    expect(place('kubeadmRepository')).toBe('airgap.yaml:9:20')
    expect(place('mirrors', 0)).toBe('airgap.yaml:20:5')
  })

  it.each([
    ['Windows line ends', FULL.replaceAll('\n', '\r\n')],
    ['a byte order mark', `\uFEFF${FULL}`],
    ['comments, a document marker and an end marker', `# ours\n--- # one\n${FULL}...\n# end\n`],
    ['YAML named as 1.2', `%YAML 1.2\n---\n${FULL}`],
    ['tags that change nothing', FULL.replace('name: apps', 'name: !!str apps')],
    ['JSON', JSON.stringify(read(FULL).config)],
  ])('is the same with %s', (_, text) => {
    expect(read(text).config).toEqual(read(FULL).config)
  })

  it('takes text that only looks like something else', () => {
    const { config } = read('configVersion: 1\nname: "1"\nbundleVersion: !!str 1.30\nimages: []\n')
    expect(config).toEqual({ configVersion: 1, name: '1', bundleVersion: '1.30', images: [] })
  })

  it('is not read where it is too large, or not there', async () => {
    await expect(readConfig('/nonexistent/airgap.yaml')).rejects.toMatchObject({ code: 'FILE' })
    await expect(readConfig('/dev/zero')).rejects.toMatchObject({ code: 'FILE' })
    expect(faults(`configVersion: 1\n#${'x'.repeat(1024 * 1024)}`)).toEqual([
      'it is larger than 1048576 bytes, too large for a config',
    ])
  })
})

describe('mistakes', () => {
  it.each<[text: string, faults: string[]]>([
    ['', ['1:1: it is empty, not a config']],
    ['# only a comment\n', ['1:1: it is empty, not a config']],
    ['- nginx\n', ['1:1: this is a list, not a config']],
    ['\n  nginx\n', ['2:3: this is the text "nginx", not a config']],
    ['configVersion: 2\n', ['1:16: configVersion must be 1, but is the number 2']],
    ['configVersion: "1"\n', ['1:16: configVersion must be 1, but is the text "1"']],
    ['configVersion:\n', ['1:15: configVersion has no value; fill it in, or remove the key']],
    [
      'configVersion: 1\nplatfroms: [linux/amd64]\n',
      ['2:1: there is no key "platfroms"; did you mean platforms?'],
    ],
    [
      'configVersion: 1\nimages-from: [a]\n',
      ['2:1: there is no key "images-from"; did you mean imagesFrom?'],
    ],
    ['configVersion: 1\nversion: "7"\n', ['2:1: there is no key "version"; did you mean bundleVersion?']],
    ['configVersion: 1\nhelmCharts: []\n', ['2:1: there is no key "helmCharts"']],
    [
      'configVersion: 1\nbundleVersion: 1.30\n',
      ['2:16: bundleVersion must be text, but is the number 1.30; in quotes it is text: "1.30"'],
    ],
    ['configVersion: 1\nname: ""\n', ['2:7: name is empty']],
    ['configVersion: 1\nname: |\n  apps\n', ['2:7: name holds a line end or another control character']],
    ['configVersion: 1\nname: "a\\eb"\n', ['2:7: name holds a line end or another control character']],
    [`configVersion: 1\nname: ${'x'.repeat(4097)}\n`, ['2:7: name has more than 4096 characters']],
    ['configVersion: 1\nimages:\n', ['2:8: images has no value; fill it in, or remove the key']],
    [
      'configVersion: 1\nimages: nginx\n',
      ['2:9: images must be a list, but is the text "nginx"; a list has one item per line, each after "- "'],
    ],
    [
      'configVersion: 1\nimages:\n  - nginx\n  - 12\n  - nginx:\n  -\n  - [a]\n',
      [
        '4:5: item 2 of images must be text, but is the number 12; in quotes it is text: "12"',
        '5:5: item 3 of images must be text, but is a mapping; a colon before a space or at the end of a line makes a mapping, unless the text is in quotes',
        '6:4: item 4 of images has no value',
        '7:5: item 5 of images must be text, but is a list',
      ],
    ],
    [
      'configVersion: 1\nimages:\n  - nginx:1.29\n  - registry.example/App:1\n',
      [
        '4:5: item 2 of images: "registry.example/App:1" is not an image reference: repository names are lower case, and "App" is not',
      ],
    ],
    [
      'configVersion: 1\nimagesFrom: ["-"]\n',
      ['2:14: item 1 of imagesFrom: a config cannot read standard input. Name it for each run.'],
    ],
    ['configVersion: 1\nplatforms: []\n', ['2:12: platforms names no platform; remove the key to take all']],
    [
      'configVersion: 1\nplatforms: [all, linux/amd64]\n',
      ['2:12: platforms names "all" and others; remove the key to take all'],
    ],
    [
      'configVersion: 1\nrewriteDigests: yes\n',
      ['2:17: rewriteDigests must be true or false, but is the text "yes"'],
    ],
    [
      'configVersion: 1\nresolveFrom: both\n',
      ['2:14: resolveFrom must be source or mirror, but is the text "both"'],
    ],
    [
      'configVersion: 1\nname: a\nname: b\n',
      ['3:1: the key "name" is given twice, first in airgap.yaml:2:1'],
    ],
    ['configVersion: 1\n12: a\n', ['2:1: a key must be a word, but this is the number 12']],
    ['configVersion: 1\n? [a]\n: b\n', ['2:3: a key must be a word, but this is a list']],
    ['configVersion: 1\n: b\n', ['2:1: a key must be a word, but this is nothing']],
  ])('%j', (text, expected) => {
    expect(faults(text)).toEqual(expected)
  })

  it.each([
    ['platforms: [linux]', '"linux" is not a platform. Write OS/ARCH'],
    ['exclude: ["a b"]', '"a b" is not a pattern'],
    ['mirrors: [docker.io]', '"docker.io" is not a mirror: it does not have the form FROM=TO'],
    ['kubeadm: [v1.99.0]', 'the images of Kubernetes v1.99.0 are unknown'],
    ['kubeadm: [latest]', '"latest" is not a Kubernetes release'],
    ['kubeadmRepository: https://r.example', 'it begins with https://'],
  ])('%s is refused in the words of its flag', (line, words) => {
    expect(faults(`configVersion: 1\n${line}\n`)).toEqual([expect.stringContaining(words)])
  })

  it('are all reported together, in the order of the file', () => {
    const { message, problems, hints } = errorOf(
      'imgaes: [nginx]\nresolveFrom: x\nkey: airgap.key\nplatforms: linux/amd64\n',
    )
    expect(message).toBe('airgap.yaml: 5 mistakes')
    expect(problems.map(({ entry }) => entry)).toEqual([
      'airgap.yaml:1:1',
      'airgap.yaml:1:1',
      'airgap.yaml:2:14',
      'airgap.yaml:3:1',
      'airgap.yaml:4:12',
    ])
    expect(hints).toEqual([{ id: 'config-keys' }])
  })

  it('are found in the line where they stand, whatever is before them', () => {
    const noise = fc.array(
      fc.constantFrom('# é\u{1F600}', '', '   # x: [', 'name: "é: #"', "bundleVersion: 'it''s'"),
      {
        maxLength: 12,
      },
    )
    fc.assert(
      fc.property(noise, fc.nat(8), fc.constantFrom('\n', '\r\n'), (lines, indent, end) => {
        const unique = lines.filter((line, i) => !/^[nb]/.test(line) || lines.indexOf(line) === i)
        const text = ['configVersion: 1', ...unique, 'images:', `${' '.repeat(indent)}- UPPER`].join(end)
        expect(faults(text)[0]).toMatch(
          new RegExp(`^${unique.length + 3}:${indent + 3}: item 1 of images: "UPPER"`),
        )
      }),
    )
  })
})

describe('what a config cannot set', () => {
  it.each([
    ['key', '--key FILE'],
    ['signingKey', '--key FILE'],
    ['keys', '--key FILE'],
    ['noSign', '--no-sign'],
    ['publicKey', '--key FILE'],
    ['sign-command', 'a config cannot run commands'],
    ['signCommand', 'a config cannot run commands'],
    ['password', 'AIRGAP_PASSWORD'],
    ['password-file', '--password-file'],
    ['credentials', '--auth-file'],
    ['username', '--auth-file'],
    ['token', '--auth-file'],
    ['authFile', '--auth-file'],
    ['credential-helper', '--auth-file'],
    ['plainHttp', '--plain-http'],
    ['insecure', '--insecure-skip-tls-verify'],
    ['insecure-skip-tls-verify', '--insecure-skip-tls-verify'],
    ['insecureRegistries', '--insecure-skip-tls-verify'],
    ['tls', '--insecure-skip-tls-verify'],
    ['caFile', '--ca-file'],
    ['ca_cert', '--ca-file'],
    ['allowTokenRealm', '--allow-token-realm'],
    ['command', 'a config cannot run commands'],
    ['preHook', 'a config cannot run commands'],
    ['output', '-o FILE'],
    ['force', '--force'],
    ['lock', '--lock FILE'],
    ['sequence', '--sequence NUMBER'],
    ['expires', '--expires DATE'],
    ['concurrency', 'the flag of that name'],
    ['dryRun', 'the flag of that name'],
  ])('%s, and it says why and what does', (key, words) => {
    const [fault] = faults(`configVersion: 1\n${key}: x\n`)
    expect(fault).toMatch(new RegExp(`^2:1: "${key}" cannot be set in a config: `))
    expect(fault).toContain(words)
  })

  it('is no key that it can set', () => {
    for (const key of CONFIG_KEYS)
      expect(faults(`${key}x: 1\nconfigVersion: 1\n`)[0]).not.toContain('cannot be set')
  })
})

describe('docs/packing.md', () => {
  it('shows a config that is one, with every key, and mistakes as they are told', async () => {
    const page = await readFile(new URL('../../../docs/packing.md', import.meta.url), 'utf8')
    const example = /```yaml\n([^]*?)```/.exec(page)?.[1] ?? ''
    expect(Object.keys(read(example).config)).toEqual(CONFIG_KEYS)
    for (const key of CONFIG_KEYS) expect(page).toContain(`| \`${key}\``)
    const { problems } = errorOf(
      '\nconfigVersion: 1\nplatfroms: [linux/amd64]\nimages:\n  - nginx\n  - registry.example/App:1\n\n\nbundleVersion: 1.30\n',
    )
    for (const { entry, message } of problems) expect(page).toContain(`      - ${entry}: ${message}\n`)
    expect(problems).toHaveLength(3)
  })
})

describe('the nearest key', () => {
  it('is found for every key with one slip', () => {
    const key = fc.constantFrom(...CONFIG_KEYS)
    fc.assert(
      fc.property(key, fc.nat(), fc.constantFrom('drop', 'double', 'swap'), (known, at, slip) => {
        const i = at % (known.length - 1)
        const [a = '', b = ''] = [known[i], known[i + 1]]
        const middle = { drop: b, double: a + a + b, swap: b + a }[slip]
        const misspelt = known.slice(0, i) + middle + known.slice(i + 2)
        if (misspelt !== known) expect(nearestKey(misspelt)).toBe(known)
      }),
    )
  })

  it.each([
    ['Images', 'images'],
    ['image', 'images'],
    ['PLATFORM', 'platforms'],
    ['mirror', 'mirrors'],
    ['bundle_version', 'bundleVersion'],
    ['resolve-from', 'resolveFrom'],
    ['apiVersion', 'configVersion'],
    ['x', undefined],
    ['kind', undefined],
    ['metadata', undefined],
  ])('of %s', (key, known) => {
    expect(nearestKey(key)).toBe(known)
  })
})

it('no key is near to one of unreasonable length', () => {
  expect(nearestKey('images'.repeat(20_000))).toBeUndefined()
})

describe('values from elsewhere', () => {
  it('are named by their key', () => {
    expect(checkConfig({ configVersion: 1, images: ['nginx', ''], name: '', platforms: ['x'] })).toEqual([
      { key: 'name', message: 'name is empty' },
      { key: 'images', message: 'item 2 of images is empty' },
      { key: 'images', message: expect.stringContaining('"" is not an image reference') as string },
      { key: 'platforms', message: expect.stringContaining('"x" is not a platform') as string },
    ])
  })
})
