import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import { parseConfig } from '../../../src/inputs/config/config.ts'
import { readMirrorFiles } from '../../../src/inputs/mirrors/mirror-files.ts'
import { MAX_MIRROR_FILE, TomlPlaces } from '../../../src/inputs/mirrors/toml-file.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { Mirrors, type ImagePlaces } from '../../../src/registry/mirrors/mirrors.ts'
import type { Rule } from '../../../src/registry/mirrors/rule.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

let root: string
let count = 0

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'airgap-mirrors-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

/** Writes files below a folder of its own, and gives that. */
async function tree(files: Record<string, string | Uint8Array>): Promise<string> {
  count += 1
  const folder = join(root, String(count))
  await mkdir(folder)
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), content)
  }
  return folder
}

interface Found {
  rules: readonly Rule[]
  warnings: string[]
  places: (image: string) => ImagePlaces
  /** `HOST/REPOSITORY` of each place in order; the source, where it is asked, is `source`. */
  names: (image: string) => string[]
}

async function read(path: string, ...images: string[]): Promise<Found> {
  const warnings: string[] = []
  const registries = new Set(images.map((image) => parseReference(image).registry))
  const set = await readMirrorFiles(path, { registries, warn: (message) => warnings.push(message) })
  const mirrors = new Mirrors([set])
  const places = (image: string): ImagePlaces => mirrors.placesOf(parseReference(image))
  return {
    rules: set.rules,
    warnings,
    places,
    names: (image) => {
      const found = places(image)
      return [
        ...found.mirrors.map(
          ({ registry, repository, apiRoot = '' }) => `${registry}${apiRoot}/${repository}`,
        ),
        ...(found.asksSource ? ['source'] : []),
      ]
    },
  }
}

async function refusal(path: string): Promise<AirgapError> {
  const error: unknown = await read(path, 'docker.io/library/a').then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(AirgapError)
  return error as AirgapError
}

const hosts = async (content: string, folder = 'docker.io'): Promise<Found> =>
  read(join(await tree({ [`${folder}/hosts.toml`]: content }), folder, 'hosts.toml'))

const conf = async (content: string): Promise<Found> =>
  read(join(await tree({ 'registries.conf': content }), 'registries.conf'))

describe('hosts.toml', () => {
  test('hosts in the order of the file, then the server', async () => {
    const found = await hosts(`
      server = "https://registry-1.docker.io"
      [host."https://z.example"]
        capabilities = ["pull"]
      [host."http://a.example:5000"]
        capabilities = ["pull", "resolve", "push"]
      [host."names.example"]
        capabilities = ["resolve"]
      [host."https://push.example"]
        capabilities = ["push"]
    `)
    const { mirrors, asksSource, access } = found.places('nginx:1')
    expect(asksSource).toBe(true)
    expect(
      mirrors.map(({ registry, pulls, resolves, wantsNamespace }) => ({
        registry,
        pulls,
        resolves,
        wantsNamespace,
      })),
    ).toEqual([
      { registry: 'z.example', pulls: true, resolves: false, wantsNamespace: true },
      { registry: 'a.example:5000', pulls: true, resolves: true, wantsNamespace: true },
      { registry: 'names.example', pulls: false, resolves: true, wantsNamespace: true },
    ])
    expect(access.find(({ registry }) => registry === 'a.example:5000')?.access).toEqual({ scheme: 'http' })
    expect(found.warnings).toEqual([])
  })

  test.each([
    ['https://m.example', false, 'm.example/library/nginx'],
    ['https://m.example/', false, 'm.example/library/nginx'],
    ['https://m.example/v2', false, 'm.example/library/nginx'],
    ['https://m.example/v2/', true, 'm.example/library/nginx'],
    // Harbor's proxy projects, as its documents have them.
    ['https://m.example/v2/hub-proxy', true, 'm.example/hub-proxy/library/nginx'],
    // Artifactory's.
    ['https://m.example/api/docker/hub', false, 'm.example/api/docker/hub/v2/library/nginx'],
    ['https://m.example/api/docker/hub', true, 'm.example/api/docker/hub/library/nginx'],
    ['https://m.example', true, 'm.example/library/nginx'],
  ])('%s with override_path = %s is asked for %s', async (url, override, expected) => {
    const found = await hosts(`[host."${url}"]\noverride_path = ${override}`)
    expect(found.names('nginx:1')).toEqual([expected, 'source'])
  })

  test('certificates are found beside the file', async () => {
    const found = await hosts(`
      ca = "/etc/own.crt"
      [host."https://a.example"]
        ca = "a.crt"
        client = "a.pem"
      [host."https://b.example"]
        ca = ["b.crt", "/etc/b.crt"]
        client = [["b.cert", "b.key"], ["c.pem", ""]]
        skip_verify = true
    `)
    const { access } = found.places('nginx:1')
    const folder = dirname(found.rules[0]!.origin)
    expect(access.map(({ registry, access: given }) => [registry, given])).toEqual([
      ['docker.io', { ca: ['/etc/own.crt'] }],
      [
        'a.example',
        {
          scheme: 'https',
          ca: [join(folder, 'a.crt')],
          client: { cert: join(folder, 'a.pem'), key: join(folder, 'a.pem') },
        },
      ],
      [
        'b.example',
        {
          scheme: 'https',
          ca: [join(folder, 'b.crt'), '/etc/b.crt'],
          client: { cert: join(folder, 'b.cert'), key: join(folder, 'b.key') },
          skipVerify: true,
        },
      ],
    ])
    expect(found.warnings).toEqual([
      expect.stringMatching(/hosts\.toml:8:9: only the first of several client certificates/),
    ])
  })

  test('what is not supported is told with its place', async () => {
    const found = await hosts(`server = "https://docker.io"
[host."https://a.example"]
  dial_timeout = "1s"
  capabilty = ["pull"]
  [host."https://a.example".header]
    x-token = "secret"
[host."http://b.example"]
  skip_verify = true
`)
    expect(found.warnings.map((text) => text.replace(/^.*\/hosts\.toml/, ''))).toEqual([
      expect.stringMatching(/^:3:3: "dial_timeout" is not supported/),
      expect.stringMatching(/^:4:3: "capabilty" is unknown/),
      expect.stringMatching(/^:5:3: "header" is not supported/),
      expect.stringMatching(/^:8:3: "skip_verify" has no effect/),
    ])
    expect(found.warnings.join()).not.toContain('secret')
  })

  test('a server elsewhere takes the place of the registry, and one without use leaves it out', async () => {
    expect((await hosts('server = "https://m.example"')).names('nginx')).toEqual(['m.example/library/nginx'])
    const out = await hosts(
      'server = "https://docker.io"\ncapabilities = ["push"]\n[host."https://m.example"]',
    )
    expect(out.names('nginx')).toEqual(['m.example/library/nginx'])
    const named = await hosts('server = "registry.example:5000"', 'registry.example_5000_')
    expect(named.names('registry.example:5000/a')).toEqual(['source'])
  })

  test.each([
    ['[host."https://user:pw@m.example"]', ':1:1', 'm.example contains credentials'],
    ['[host."https://m.example?x=1"]', ':1:1', 'query'],
    ['[host."httpx://m.example"]', ':1:1', 'only https:// and http://'],
    ['[host."https://"]', ':1:1', 'not the address of a registry'],
    ['\n[host."https://m.example"]\ncapabilities = ["pul"]', ':3:1', '"pul"'],
    ['[host."https://m.example"]\ncapabilities = "pull"', ':2:1', 'a list of texts'],
    ['[host."https://m.example"]\nskip_verify = "yes"', ':2:1', 'true or false'],
    ['[host."https://m.example"]\n  ca = 5', ':2:3', 'text in quotes, or a list'],
    ['[host."https://m.example"]\nclient = [["a", "b", "c"]]', ':2:1', 'pairs'],
    ['[host."https://m.example"]\nCapabilities = ["pull"]', ':2:1', 'write "Capabilities" as "capabilities"'],
    ['host = "https://m.example"', ':1:1', 'tables'],
    ['server = 1', ':1:1', 'text in quotes'],
    ['server = "https://a"\nserver = "https://b"', ':2:1', 'not TOML'],
    ['[host."https://m.example"\n', ':1:', 'not TOML'],
    ['[[registry]]\nlocation = "a"', '', 'not a hosts.toml'],
  ])('%j is refused with place and reason', async (content, place, reason) => {
    const error = await refusal(join(await tree({ 'docker.io/hosts.toml': content }), 'docker.io/hosts.toml'))
    expect(error.code).toBe('INVALID_CONFIG')
    expect(error.message).toContain(`hosts.toml${place}`)
    expect(error.message).toContain(reason)
    expect(error.message).not.toContain('pw@')
  })

  test('its folder has to tell the registry', async () => {
    const error = await refusal(join(await tree({ 'my mirrors/hosts.toml': '' }), 'my mirrors', 'hosts.toml'))
    expect(error.message).toContain('"my mirrors"')
    expect(hintOf(error)).toContain('docker.io/hosts.toml')
  })
})

describe('a folder of hosts.toml', () => {
  const of = (mirror: string): string => `[host."https://${mirror}"]`

  test('has the folder of each registry, with its port in two ways, and one for all others', async () => {
    const folder = await tree({
      'docker.io/hosts.toml': of('hub.example'),
      'r.example_5000_/hosts.toml': of('port.example'),
      'r.example:5000/hosts.toml': of('colon.example'),
      'c.example:5000/hosts.toml': of('c-colon.example'),
      '_default/hosts.toml': of('default.example'),
      'certs.example/ca.crt': 'x',
      'unused.example/hosts.toml': 'this is = = no TOML',
    })
    const images = [
      'nginx',
      'r.example:5000/a',
      'c.example:5000/a',
      'r.example/a',
      'quay.io/a',
      'certs.example/a',
    ]
    const found = await read(folder, ...images)
    expect(images.map((image) => found.names(image)[0])).toEqual([
      'hub.example/library/nginx',
      'port.example/a',
      'c-colon.example/a',
      'default.example/a',
      'default.example/a',
      // Its folder is there, so it is not one of the others.
      'source',
    ])
    expect(found.warnings).toEqual([expect.stringContaining('certs.example: it contains certificates')])
  })

  test('may be one without anything for these images', async () => {
    const folder = await tree({ 'unused.example/hosts.toml': of('m.example') })
    expect((await read(folder, 'nginx')).names('nginx')).toEqual(['source'])
  })

  test('or the folder of one registry, also by a link', async () => {
    const folder = await tree({ 'docker.io/hosts.toml': of('hub.example') })
    await symlink('docker.io', join(folder, 'link'))
    expect((await read(join(folder, 'docker.io'), 'nginx')).names('nginx')).toEqual([
      'hub.example/library/nginx',
      'source',
    ])
  })

  test('the one of our own `serve` asks for the registry by its name, and for nothing else', async () => {
    const { hostsFile } = await import('../../../src/serve/node-config.ts')
    const { content } = hostsFile('docker.io', { host: 'served.example:5000', isTls: false })
    const found = await read(await tree({ 'docker.io/hosts.toml': content }), 'nginx')
    expect(found.names('nginx')).toEqual(['served.example:5000/library/nginx'])
    expect(found.places('nginx').mirrors[0]?.wantsNamespace).toBe(true)
  })
})

describe('registries.conf', () => {
  // The example of containers-registries.conf(5).
  const EXAMPLE = `
unqualified-search-registries = ["example.com"]
short-name-mode = "enforcing"

[[registry]]
prefix = "example.com/foo"
insecure = false
blocked = false
location = "internal-registry-for-example.com/bar"

[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"

[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "registry.com"

[[registry.mirror]]
location = "mirror.registry.com"
`
  test('the example of the manual', async () => {
    const found = await conf(EXAMPLE)
    expect(found.names('example.com/foo/image:latest')).toEqual([
      'example-mirror-0.local/mirror-for-foo/image',
      'example-mirror-1.local/mirrors/foo/image',
      'internal-registry-for-example.com/bar/image',
    ])
    expect(found.names('registry.com/x')).toEqual(['mirror.registry.com/x', 'source'])
    expect(found.names('example.com/food/image')).toEqual(['source'])
    expect(found.warnings).toEqual([])
    const { access } = found.places('example.com/foo/image')
    expect(access.map(({ registry, access: given }) => [registry, given])).toEqual([
      ['example-mirror-1.local', { scheme: 'either', skipVerify: true }],
    ])
  })

  test('wildcards, and a registry that is only insecure', async () => {
    const found = await conf(`
[[registry]]
prefix = "*.example.com"
insecure = true
[[registry]]
prefix = "*.deep.example.com"
location = "deep.local/d"
[[registry]]
prefix = "host.example.com"
location = "host.local"
blocked = false
`)
    expect(found.names('a.example.com/x')).toEqual(['source'])
    expect(found.places('a.example.com/x').access).toMatchObject([
      { registry: 'a.example.com', access: { scheme: 'either' } },
    ])
    expect(found.names('a.deep.example.com/x')).toEqual(['deep.local/d/x'])
    expect(found.names('host.example.com/x')).toEqual(['host.local/x'])
    expect(found.names('example.com/x')).toEqual(['source'])
  })

  test('who may name a digest', async () => {
    const found = await conf(`
[[registry]]
location = "a.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.example"
[[registry]]
location = "b.example"
[[registry.mirror]]
location = "digest.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tag.example"
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "all.example"
pull-from-mirror = "all"
`)
    const naming = (image: string): string[] =>
      found
        .places(image)
        .mirrors.filter(({ resolves }) => resolves)
        .map(({ registry }) => registry)
    expect(naming('a.example/x:1')).toEqual([])
    expect(naming('b.example/x:1')).toEqual(['tag.example', 'all.example'])
    expect(found.names('b.example/x:1')).toHaveLength(4)
    expect(found.names(`b.example/x@sha256:${'a'.repeat(64)}`)).toEqual([
      'digest.example/x',
      'all.example/x',
      'source',
    ])
  })

  test('blocked names the file', async () => {
    const found = await conf('[[registry]]\nlocation = "bad.example"\nblocked = true')
    expect(() => found.places('bad.example/x')).toThrow(/registries\.conf/)
  })

  test('what is not known is told', async () => {
    const found = await conf(`credential-helpers = ["x"]
[[registry]]
location = "a.example"
mirrors = ["x"]
[[registry.mirror]]
location = "m1.example"
insecrue = true
`)
    expect(found.warnings.map((text) => text.replace(/^.*\/registries\.conf/, ''))).toEqual([
      expect.stringMatching(/^:1:1: "credential-helpers" is ignored/),
      expect.stringMatching(/^:4:1: "mirrors" is unknown/),
      expect.stringMatching(/^:7:1: "insecrue" is unknown/),
    ])
    expect(found.names('a.example/x')).toEqual(['m1.example/x', 'source'])
  })

  test.each([
    ['[[registry]]\nlocation = "a/"\n[[registry]]\nprefix = "a"\nlocation = "b"', ':3:1', 'Keep one'],
    ["[registries.search]\nregistries = ['a.example']", ':1:1', 'version 1'],
    ['[[registry]]\nblocked = true', ':1:1', 'needs a location'],
    ['[[registry]]\nprefix = "a.example"', ':2:1', '*.example.com'],
    ['[[registry]]\nlocation = "https://a.example"', ':2:1', 'leave the scheme out'],
    ['[[registry]]\nlocation = "a.example/B"', ':2:1', 'repository path'],
    ['[[registry]]\nprefix = "*.a.example/x"\nlocation = "b"', ':2:1', 'without path and port'],
    ['[[registry]]\nprefix = "a.example/x:1"\nlocation = "b"', ':2:1', 'leave the tag out'],
    ['[[registry]]\nprefix = "a b"\nlocation = "b"', ':2:1', 'not a registry host'],
    ['[[registry]]\nlocation = "a"\n[[registry.mirror]]\ninsecure = true', ':3:1', 'needs a location'],
    [
      '[[registry]]\nlocation = "a"\n[[registry.mirror]]\nlocation = "b"\npull-from-mirror = "x"',
      ':5:1',
      'one of',
    ],
    [
      '[[registry]]\nlocation = "a"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "b"\npull-from-mirror = "all"',
      ':6:1',
      'leave one',
    ],
    ['[[registry]]\nlocation = "a"\nBlocked = true', ':3:1', 'write "Blocked" as "blocked"'],
    ['[registry]\nlocation = "a"', ':1:1', '[[registry]]'],
    ['registry = [1979-05-27, {}]', ':1:1', '[[registry]]'],
  ])('%j is refused with place and reason', async (content, place, reason) => {
    const error = await refusal(join(await tree({ 'registries.conf': content }), 'registries.conf'))
    expect(error.code).toBe('INVALID_CONFIG')
    expect(error.message).toContain(`registries.conf${place}`)
    expect(`${error.message} ${hintOf(error)}`).toContain(reason)
  })

  test('drop-ins replace what comes before them, in the order of their names', async () => {
    const of = (location: string, mirror: string): string =>
      `[[registry]]\nlocation = "${location}"\n[[registry.mirror]]\nlocation = "${mirror}"\n`
    const folder = await tree({
      'registries.conf': of('a.example', 'main.example') + of('b.example', 'main.example'),
      'registries.conf.d/20-late.conf': of('a.example', 'late.example'),
      'registries.conf.d/10-early.conf': of('a.example', 'early.example') + of('c.example', 'early.example'),
      'registries.conf.d/30-not-read.toml': 'no = = toml',
      'policy.json': '{}',
    })
    for (const path of [folder, join(folder, 'registries.conf.d')]) {
      const found = await read(path)
      expect(found.names('a.example/x')[0]).toBe('late.example/x')
      expect(found.names('c.example/x')[0]).toBe('early.example/x')
      expect(found.names('b.example/x')[0]).toBe(path === folder ? 'main.example/x' : 'source')
    }
  })

  test('the one of our own `serve`', async () => {
    const { registriesConf } = await import('../../../src/serve/node-config.ts')
    const { content } = registriesConf(['docker.io', 'quay.io'], {
      host: 'served.example:5000',
      isTls: false,
    })
    expect((await conf(content)).names('nginx')).toEqual(['served.example:5000/docker.io/library/nginx'])
  })
})

describe('other things', () => {
  test.each([
    [{ 'a.toml': 'x = 1' }, 'a.toml', 'neither'],
    [{ 'a.toml': 'server = "x"' }, 'a.toml', 'but has another name'],
    [{ 'a.txt': 'plain text\n' }, 'a.txt', 'a.txt:1:'],
    [{ 'a.conf': Buffer.from([0xff, 0xfe, 0x41, 0]) }, 'a.conf', 'not UTF-8'],
    [{ 'sub/file.txt': '' }, '', 'no mirror configuration in this folder'],
    [{ 'a.conf': 'a = "\u001b[2J"' }, 'a.conf', 'not TOML'],
  ])('%j are refused', async (files, name, reason) => {
    const path = join(await tree(files), name)
    const error = await refusal(path)
    expect(error.code).toBe('INVALID_CONFIG')
    expect(error.message).toContain(reason)
    expect(error.message).toContain(path)
  })

  test('what is not there, and what is a device', async () => {
    expect((await refusal(join(root, 'none'))).message).toContain('there is no such file or folder')
    expect((await refusal('/dev/zero')).message).toContain('larger than')
  })

  test.each([
    ['large', `# ${'x'.repeat(MAX_MIRROR_FILE)}`, 'larger than'],
    ['deep', `a = ${'['.repeat(100_000)}`, 'not TOML'],
    ['a deep key', `${'a.'.repeat(100_000)}a = 1`, ''],
    ['many unknown keys', Array.from({ length: 20_000 }, (_, i) => `k${i} = 1`).join('\n'), 'neither'],
    ['deep tables', `[${'a.'.repeat(100_000)}a]`, ''],
    ['unsafe', '[__proto__]\nblocked = true', 'not TOML'],
    ['unsafe too', '[host.constructor.prototype]\nca = "x"', 'not TOML'],
    ['an endless name', `[host."https://${'a'.repeat(500_000)}"]`, ''],
    ['many', `[[registry]]\nlocation = "a"\n${'[[registry.mirror]]\n'.repeat(10_000)}`, 'needs a location'],
  ])('hostile: %s', async (_, content, reason) => {
    for (const name of ['docker.io/hosts.toml', 'a.conf']) {
      const path = join(await tree({ [name]: content }), name)
      const outcome = await read(path).then(
        () => 'read',
        (error: unknown) => error,
      )
      if (outcome === 'read') continue
      expect(outcome).toBeInstanceOf(AirgapError)
      if (name === 'a.conf') expect((outcome as AirgapError).message).toContain(reason)
    }
    expect(({} as { blocked?: boolean }).blocked).toBeUndefined()
  })

  test('any text gives rules or an error of ours, with the path in it', async () => {
    const folder = await tree({ 'a.conf': '' })
    const path = join(folder, 'a.conf')
    const word = fc.constantFrom(
      '[[registry]]',
      '[[registry.mirror]]',
      'location = ',
      'prefix = ',
      'insecure = ',
      'true',
      '"a.example/b"',
      '"*.x"',
      '{',
      '}',
      '[',
      ']',
      '"""',
      "'''",
      '\n',
      '\n',
      '.',
      '1979-05-27',
      'registry.mirror = ',
    )
    const text = fc.array(fc.oneof({ weight: 6, arbitrary: word }, fc.string()), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(text, async (words) => {
        await writeFile(path, words.join(''))
        try {
          await read(path)
        } catch (error) {
          expect(error).toBeInstanceOf(AirgapError)
          expect((error as AirgapError).message).toContain(path)
        }
      }),
      { numRuns: 150 },
    )
  })
})

test('a config cannot name such files, and says why', () => {
  for (const key of ['mirrorsFrom', 'mirrors-from', 'certs.d']) {
    const bytes = Buffer.from(`configVersion: 1\n${key}: hosts.toml\n`)
    expect(() => parseConfig(bytes, 'airgap.yaml')).toThrow(
      expect.objectContaining({
        hints: expect.arrayContaining([{ id: 'said-with-each-run', option: 'mirrorsFrom' }]) as unknown,
      }) as Error,
    )
  }
})

test('places of keys', () => {
  const text = `a = 1
[t] # comment
  "b c".d = """
[t.x]
a = 2
"""
  e = [ 1 ]
[[l.m]]
[[l.m]]
  [[l.m.n]]
  k = 1
[ l . o ]
'x' = { y = 1 }
`
  const places = new TomlPlaces(text)
  const at = (...path: (string | number)[]): string => {
    const { line, column } = places.of(path) ?? { line: 0, column: 0 }
    return `${line}:${column}`
  }
  expect(at('a')).toBe('1:1')
  expect(at('t')).toBe('2:1')
  expect(at('t', 'b c', 'd')).toBe('3:3')
  expect(at('t', 'e')).toBe('7:3')
  expect(at('l', 'm', 1)).toBe('9:1')
  expect(at('l', 'm', 1, 'n', 0, 'k')).toBe('11:3')
  expect(at('l', 'm', 0, 'n', 0, 'k')).toBe('8:1')
  expect(at('l', 'o', 'x', 'y')).toBe('13:1')
  expect(at('none')).toBe('0:0')
})
