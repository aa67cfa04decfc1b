import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import { formatReference, isRepository, nameOf, parseReference } from '../../src/oci/reference.ts'

const HEX = 'a'.repeat(64)

function refusal(text: string): string {
  try {
    parseReference(text)
  } catch (error) {
    if (error instanceof AirgapError && error.code === 'INVALID_REFERENCE') {
      return `${error.message} ${error.hint ?? ''}`
    }
    throw error
  }
  throw new Error(`${text} was accepted`)
}

describe('references are completed as Docker does', () => {
  it.each([
    ['nginx', 'docker.io/library/nginx:latest'],
    ['nginx:1.27', 'docker.io/library/nginx:1.27'],
    ['bitnami/redis', 'docker.io/bitnami/redis:latest'],
    ['docker.io/nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/library/nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/nginx:1', 'docker.io/library/nginx:1'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app:1', 'localhost:5000/app:1'],
    ['registry.k8s.io/coredns/coredns:v1.14.2', 'registry.k8s.io/coredns/coredns:v1.14.2'],
    ['host:5000/a/b/c', 'host:5000/a/b/c:latest'],
    ['a.b/c', 'a.b/c:latest'],
    ['Registry/app', 'Registry/app:latest'],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    ['127.0.0.1:5000/app@sha256:' + HEX, '127.0.0.1:5000/app@sha256:' + HEX],
    ['nginx:1.27@sha256:' + HEX, 'docker.io/library/nginx:1.27@sha256:' + HEX],
    ['nginx@sha256:' + HEX, 'docker.io/library/nginx@sha256:' + HEX],
    ['a__b/c--d.e_f:T_.-9', 'docker.io/a__b/c--d.e_f:T_.-9'],
  ])('%s is %s', (text, full) => {
    expect(formatReference(parseReference(text))).toBe(full)
    expect(formatReference(parseReference(full))).toBe(full)
  })

  it('gives no default tag to a reference with a digest', () => {
    expect(parseReference(`nginx@sha256:${HEX}`)).toEqual({
      registry: 'docker.io',
      repository: 'library/nginx',
      digest: `sha256:${HEX}`,
    })
  })
})

describe('refusals say what is wrong', () => {
  it.each([
    ['', 'it is empty'],
    ['nginx 1.27', 'white space'],
    ['https://registry.example/app', 'Leave the scheme out'],
    ['docker://nginx:1.27', 'docker:// is a transport of skopeo and podman Leave it out: nginx:1.27'],
    ['docker-daemon:nginx:1.27', 'docker-daemon: is a transport'],
    ['docker-daemon:nginx', 'skopeo copy docker-daemon:nginx docker://REGISTRY/NAME:TAG'],
    ['docker-archive:/tmp/x.tar', 'docker-archive: is a transport'],
    ['containers-storage:localhost/app:1', 'containers-storage: is a transport'],
    ['oci:layout:app', 'oci: is a transport'],
    ['oci-archive:x;y.tar', "skopeo copy 'oci-archive:x;y.tar' docker://"],
    ['dir:/tmp/x', 'dir: is a transport'],
    ['ostree:app', 'ostree: is a transport'],
    [`sha256:${HEX}`, 'it is a digest without a repository'],
    [HEX, 'image ID'],
    ['Nginx', 'lower case'],
    ['registry.example/App', 'lower case'],
    ['nginx:', 'the tag after ":" is empty'],
    ['nginx:-bad', 'the tag "-bad"'],
    [`nginx:${'x'.repeat(129)}`, 'at most 128'],
    ['a//b', 'a path part is empty'],
    ['registry.example/', 'names no repository'],
    ['a/-b', '"-b"'],
    ['a/b_', '"b_"'],
    ['a/b___c', '"b___c"'],
    ['-host.example/a', 'not a registry host'],
    ['host:99999/a', 'not a registry host'],
    ['nginx@sha256:abc', 'exactly 64'],
    [`nginx@sha256:${'A'.repeat(64)}`, 'lower case'],
    [`nginx@sha512:${'a'.repeat(128)}`, 'only sha256 is supported'],
    [`nginx@${HEX}`, 'a digest is sha256:'],
    [`nginx@sha256:${HEX}@sha256:${HEX}`, 'exactly 64'],
    [`registry.example/${'a'.repeat(256)}`, 'at most 255 are allowed'],
  ])('%s: %s', (text, words) => {
    expect(refusal(text)).toContain(words)
  })
})

describe('what only looks like a transport', () => {
  it.each([
    ['docker:24-dind', 'docker.io/library/docker:24-dind'],
    ['oci:5000/app:1', 'oci:5000/app:1'],
    ['docker.io/library/oci:1', 'docker.io/library/oci:1'],
    ['docker.io/library/docker-daemon:1', 'docker.io/library/docker-daemon:1'],
    ['oci/app', 'docker.io/oci/app:latest'],
  ])('%s is %s', (text, full) => {
    expect(formatReference(parseReference(text))).toBe(full)
  })
})

describe('properties', () => {
  const component = fc
    .array(fc.stringMatching(/^[a-z0-9]{1,6}$/), { minLength: 1, maxLength: 3 })
    .chain((parts) => fc.constantFrom('.', '_', '__', '-', '---').map((joint) => parts.join(joint)))
  const path = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
  const registry = fc.constantFrom(
    'docker.io',
    'localhost',
    'localhost:5000',
    'r.example',
    '10.0.0.1:443',
    '[::1]:80',
  )
  const tag = fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/), { nil: undefined })
  const digest = fc.option(fc.stringMatching(/^[0-9a-f]{64}$/), { nil: undefined })

  it('every accepted form round-trips', () => {
    fc.assert(
      fc.property(registry, path, tag, digest, (host, repository, label, hex) => {
        const text = `${host}/${repository}${label ? `:${label}` : ''}${hex ? `@sha256:${hex}` : ''}`
        const parsed = parseReference(text)
        const full = formatReference(parsed)
        expect(parseReference(full)).toEqual(parsed)
        expect(isRepository(parsed.repository)).toBe(true)
        expect(nameOf(parsed)).toBe(`${parsed.registry}/${parsed.repository}`)
      }),
      { numRuns: 500 },
    )
  })

  it('any text is either accepted and round-trips, or refused with INVALID_REFERENCE', () => {
    const text = fc.oneof(fc.string({ maxLength: 60 }), fc.stringMatching(/^[a-zA-Z0-9:/@._-]{0,60}$/))
    fc.assert(
      fc.property(text, (given) => {
        try {
          const full = formatReference(parseReference(given))
          expect(formatReference(parseReference(full))).toBe(full)
        } catch (error) {
          if (!(error instanceof AirgapError)) throw error
          expect(error.code).toBe('INVALID_REFERENCE')
          // What could be a login in front of a host is not repeated.
          if (!/[^/]:.+@/.test(given)) expect(error.message).toContain(JSON.stringify(given))
        }
      }),
      { numRuns: 2000 },
    )
  })
})
