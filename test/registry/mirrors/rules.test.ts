import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatReference, parseReference } from '../../../src/oci/reference.ts'
import { Mirrors, mirrorsInUse } from '../../../src/registry/mirrors/mirrors.ts'
import { parseMirror, type Place, type Rule, type RuleSet } from '../../../src/registry/mirrors/rule.ts'
import { sourcesFor } from '../../../src/registry/mirrors/sources.ts'
import { failureOf, makeClient } from '../../support/client.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

const flags = (...mirrors: string[]): RuleSet => ({
  counts: 'all',
  rules: mirrors.map((mirror) => parseMirror(mirror)),
})

function namesFor(image: string, ...sets: RuleSet[]): string[] {
  const found = sourcesFor(makeClient(), parseReference(image), new Mirrors(sets))
  return found.all.map(({ name }) => name)
}

const place = (text: string, more: Partial<Place> = {}): Place => {
  const [registry = '', ...path] = text.split('/')
  return { registry, path: path.join('/'), text, pulls: true, resolves: true, ...more }
}

const rule = (host: string, path: string, more: Partial<Rule> = {}): Rule => ({
  scope: { kind: 'path', host, path },
  mirrors: [],
  source: 'own',
  origin: 'file.conf',
  ...more,
})

const file = (...rules: Rule[]): RuleSet => ({ counts: 'most specific', rules })

describe('--mirror', () => {
  test('a longer prefix goes before a shorter one, equals in the order given, and the source comes last', () => {
    const mirrors = flags(
      'docker.io=m1.example',
      'quay.io=other.example',
      'docker.io=m2.example:5000/hub',
      'docker.io/library=m3.example',
    )
    expect(namesFor('nginx', mirrors)).toEqual([
      'm3.example/nginx',
      'm1.example/library/nginx',
      'm2.example:5000/hub/library/nginx',
      'docker.io/library/nginx',
    ])
  })

  test('a prefix counts in whole path parts', () => {
    expect(namesFor('r.example/team/app', flags('r.example/te=m.example'))).toEqual(['r.example/team/app'])
    expect(namesFor('r.example/team/app', flags('r.example/team/app=m.example/x'))).toEqual([
      'm.example/x',
      'r.example/team/app',
    ])
    // Nothing would be left for a name.
    expect(namesFor('r.example/team/app', flags('r.example/team/app=m.example'))).toEqual([
      'r.example/team/app',
    ])
  })

  test('Docker Hub is one registry under all its names', () => {
    expect(namesFor('nginx', flags('index.docker.io=m.example'))).toEqual([
      'm.example/library/nginx',
      'docker.io/library/nginx',
    ])
  })

  test('a place that is named twice, or is the source itself, is asked once', () => {
    const mirrors = flags('r.example=m.example', 'r.example/a=m.example/a', 'r.example=r.example')
    expect(namesFor('r.example/a/b', mirrors)).toEqual(['m.example/a/b', 'r.example/a/b'])
  })

  test.each([
    '',
    'a',
    'a.example=',
    '=b.example',
    'a.example=b.example=c',
    'https://a=b',
    'a.example=b.example/UPPER',
    'a.example/=b.example',
    'a b=c',
  ])('%j is refused', async (text) => {
    const error = await failureOf(() => parseMirror(text), 'USAGE')
    expect(hintOf(error)).toContain('FROM=TO')
  })
})

describe('rules of files', () => {
  const wide = rule('r.example', '', { mirrors: [place('wide.example')] })
  const narrow = rule('r.example', 'team', { mirrors: [place('narrow.example/t')] })

  test('of one file only the most specific rule counts; flags and other files add to it', () => {
    expect(namesFor('r.example/team/app', file(wide, narrow))).toEqual([
      'narrow.example/t/app',
      'r.example/team/app',
    ])
    expect(namesFor('r.example/team/app', flags('r.example=flag.example'), file(wide), file(narrow))).toEqual(
      ['flag.example/team/app', 'wide.example/team/app', 'narrow.example/t/app', 'r.example/team/app'],
    )
  })

  test('a wildcard is less specific than a host, and never the domain itself', () => {
    const wildcard: Rule = {
      ...rule('', ''),
      scope: { kind: 'subdomains', domain: '.example' },
      mirrors: [place('w')],
    }
    expect(namesFor('r.example/team/app', file(wildcard, wide))[0]).toBe('wide.example/team/app')
    expect(namesFor('a.b.example/app', file(wildcard, wide))[0]).toBe('w/app')
    expect(namesFor('example.test/app', file(wildcard))).toEqual(['example.test/app'])
    expect(namesFor('badexample/app', file(wildcard))).toEqual(['docker.io/badexample/app'])
  })

  test('a registry that is elsewhere is not asked, and its place names no digest unless mirrors may', () => {
    const moved = rule('r.example', '', { mirrors: [place('m.example')], source: place('new.example/r') })
    const found = sourcesFor(makeClient(), parseReference('r.example/app'), new Mirrors([file(moved)]))
    expect(found.all.map(({ name }) => name)).toEqual(['m.example/app', 'new.example/r/app'])
    expect(found.source).toBeUndefined()
    expect(found.movedBy).toBe('file.conf')
    expect(found.naming.map(({ repository }) => repository.name)).toEqual([
      'm.example/app',
      'new.example/r/app',
    ])
  })

  test('a registry that is said to be at its own place is the source', () => {
    const own = rule('r.example:443', '', { source: place('r.example', { access: { scheme: 'https' } }) })
    expect(namesFor('r.example:443/app', file(own))).toEqual(['r.example:443/app'])
  })

  test('mirrors for tags only are left out for digests', () => {
    const rules = file(rule('r.example', '', { mirrors: [place('m.example', { tagOnly: true })] }))
    expect(namesFor('r.example/app:1', rules)).toEqual(['m.example/app', 'r.example/app'])
    expect(namesFor(`r.example/app@sha256:${'a'.repeat(64)}`, rules)).toEqual(['r.example/app'])
  })

  test('a mirror that does not deliver content may name digests, and the reverse', () => {
    const mirrors = [place('names.example', { pulls: false }), place('holds.example', { resolves: false })]
    const found = sourcesFor(
      makeClient(),
      parseReference('r.example/app'),
      new Mirrors([file(rule('r.example', '', { mirrors }))]),
    )
    expect(found.all.map(({ name }) => name)).toEqual(['holds.example/app', 'r.example/app'])
    expect(found.naming.map(({ repository }) => repository.name)).toEqual(['names.example/app'])
  })

  test('nowhere to read from is told, with the file', async () => {
    const rules = new Mirrors([file(rule('r.example', '', { source: 'nowhere' }))])
    const error = await failureOf(
      () => sourcesFor(makeClient(), parseReference('r.example/app'), rules),
      'USAGE',
    )
    expect(error.message).toContain('r.example/app:latest')
    expect(error.message).toContain('file.conf')
  })

  test.each(['r.example/app', 'r.example:5000/app', 'r.example/app@sha256:' + 'a'.repeat(64)])(
    'what a file blocks must not be read, on any port: %s',
    async (image) => {
      const mirrors = new Mirrors([
        flags('r.example=m.example'),
        file(rule('r.example', '', { isBlocked: true })),
      ])
      const error = await failureOf(() => mirrors.placesOf(parseReference(image)), 'DENIED')
      expect(error.message).toContain('file.conf')
      expect(error.message).toContain(image)
    },
  )

  test('a tag can be blocked alone', async () => {
    const scope = {
      kind: 'reference',
      text: 'r.example/app:1',
      host: 'r.example',
      path: 'app',
      suffix: ':1',
    } as const
    const mirrors = new Mirrors([file(wide, { ...rule('', ''), scope, isBlocked: true })])
    await failureOf(() => mirrors.placesOf(parseReference('r.example/app:1')), 'DENIED')
    await failureOf(
      () => mirrors.placesOf(parseReference(`r.example/app:1@sha256:${'a'.repeat(64)}`)),
      'DENIED',
    )
    expect(mirrors.placesOf(parseReference('r.example/app:2')).mirrors).toHaveLength(1)
    expect(mirrors.placesOf(parseReference('r.example/app/app:1')).mirrors).toHaveLength(1)
  })
})

describe('prefixes', () => {
  const part = fc.constantFrom('a', 'b', 'ab', 'c-d')
  const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
  const prefix = fc.array(part, { maxLength: 3 }).map((parts) => parts.join('/'))
  const host = fc.constantFrom('r.example', 'r.example:5000', 'x.r.example', 'other.test')
  const text = (host: string, path: string): string => (path === '' ? host : `${host}/${path}`)

  test('of any set of rules the longest prefix of the name wins', () => {
    fc.assert(
      fc.property(host, path, fc.uniqueArray(prefix, { maxLength: 6 }), host, (at, name, prefixes, of) => {
        const rules = prefixes.map((from) => rule(of, from, { mirrors: [place('m.example/p')] }))
        const image = parseReference(`${at}/${name}:1`)
        const [found] = new Mirrors([file(...rules)]).placesOf(image).mirrors
        const full = `${at}/${name}/`
        const matching = prefixes.map((from) => `${text(of, from)}/`).filter((from) => full.startsWith(from))
        const longest = matching.toSorted((a, b) => b.length - a.length)[0]
        const rest = longest === undefined ? undefined : full.slice(longest.length, -1)
        expect(found?.repository).toBe(rest === undefined ? undefined : rest === '' ? 'p' : `p/${rest}`)
      }),
    )
  })

  test('flags keep their order among equals, whatever stands between', () => {
    fc.assert(
      fc.property(path, fc.array(prefix, { maxLength: 8 }), (name, prefixes) => {
        const mirrors = flags(...prefixes.map((from, i) => `${text('r.example', from)}=m${i}.example/p`))
        const image = parseReference(`r.example/${name}`)
        const found = new Mirrors([mirrors]).placesOf(image).mirrors
        const order = found.map(({ registry }) => Number(/\d+/.exec(registry)?.[0]))
        const expected = prefixes
          .map((from, i) => ({ from, i }))
          .filter(({ from }) => from === '' || `${name}/`.startsWith(`${from}/`))
          .toSorted((a, b) => b.from.length - a.from.length || a.i - b.i)
        expect(order).toEqual(expected.map(({ i }) => i))
        expect(formatReference(image)).toBe(`r.example/${name}:latest`)
      }),
    )
  })
})

describe('what is in use', () => {
  const use = (images: string[], ...sets: RuleSet[]) => {
    const mirrors = new Mirrors(sets)
    return mirrorsInUse(
      images.map((text) => ({ image: parseReference(text), places: mirrors.placesOf(parseReference(text)) })),
    )
  }

  test('is told once for all images that are read alike', () => {
    expect(use(['nginx', 'redis', 'quay.io/a'], flags('docker.io=m.example/hub'))).toEqual([
      {
        prefix: 'docker.io',
        places: [{ location: 'm.example/hub', origin: 'the mirror' }],
        registryItself: true,
      },
    ])
  })

  test('names the part of a registry that is read otherwise, and the registry that a wildcard stands for', () => {
    const wildcard: Rule = {
      ...rule('', ''),
      scope: { kind: 'subdomains', domain: '.example' },
      mirrors: [place('w.test')],
    }
    expect(
      use(['r.io/a', 'r.io/team/b', 'x.example/c'], flags('r.io=m.test', 'r.io/team=t.test'), file(wildcard)),
    ).toEqual([
      { prefix: 'r.io', places: [{ location: 'm.test', origin: 'the mirror' }], registryItself: true },
      {
        prefix: 'r.io/team',
        places: [
          { location: 't.test', origin: 'the mirror' },
          { location: 'm.test', origin: 'the mirror' },
        ],
        registryItself: true,
      },
      { prefix: 'x.example', places: [{ location: 'w.test', origin: 'file.conf' }], registryItself: true },
    ])
  })
})
