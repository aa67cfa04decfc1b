import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import { Proxies } from '../../../src/registry/net/proxies.ts'
import { failureOf } from '../../support/client.ts'

function choice(env: Record<string, string>, url = 'https://registry.example'): string | undefined {
  const proxy = Proxies.fromEnvironment(env).for(new URL(url))
  return proxy && `${proxy.url.origin} from ${proxy.from}`
}

test.each([
  [{}, 'https://r.example', undefined],
  [{ HTTPS_PROXY: 'http://p:1' }, 'https://r.example', 'http://p:1 from HTTPS_PROXY'],
  [{ HTTPS_PROXY: 'http://p:1' }, 'http://r.example', undefined],
  [{ HTTP_PROXY: 'http://p:1' }, 'https://r.example', undefined],
  [{ HTTP_PROXY: 'http://p:1' }, 'http://r.example', 'http://p:1 from HTTP_PROXY'],
  [{ HTTPS_PROXY: 'http://p:1', https_proxy: 'q:2' }, 'https://r.example', 'http://q:2 from https_proxy'],
  [{ HTTPS_PROXY: 'http://p:1', https_proxy: ' ' }, 'https://r.example', 'http://p:1 from HTTPS_PROXY'],
  [{ HTTPS_PROXY: '' }, 'https://r.example', undefined],
  [{ ALL_PROXY: 'http://p:1' }, 'https://r.example', 'http://p:1 from ALL_PROXY'],
  [{ ALL_PROXY: 'http://p:1', HTTPS_PROXY: 'https://q' }, 'https://r.example', 'https://q from HTTPS_PROXY'],
  [{ all_proxy: 'http://p:1' }, 'http://r.example', 'http://p:1 from all_proxy'],
  // A web client can set HTTP_PROXY for a CGI program, by a header "Proxy".
  [{ HTTP_PROXY: 'http://p:1', REQUEST_METHOD: 'GET' }, 'http://r.example', undefined],
  [{ http_proxy: 'http://p:1', REQUEST_METHOD: 'GET' }, 'http://r.example', 'http://p:1 from http_proxy'],
  [{ HTTPS_PROXY: 'http://p:1', NO_PROXY: 'example' }, 'https://r.example', undefined],
  [
    { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'example', no_proxy: 'other' },
    'https://r.example',
    'http://p:1 from HTTPS_PROXY',
  ],
  [{ HTTPS_PROXY: 'http://p:1' }, 'https://localhost:5000', undefined],
  [{ HTTPS_PROXY: 'http://p:1' }, 'https://127.9.9.9', undefined],
  [{ HTTPS_PROXY: 'http://p:1' }, 'https://[::1]', undefined],
  [{ HTTPS_PROXY: 'http://p:1', AIRGAP_PROXY_LOOPBACK: '1' }, 'https://[::1]', 'http://p:1 from HTTPS_PROXY'],
  [
    { HTTPS_PROXY: 'http://p:1', AIRGAP_PROXY_LOOPBACK: '1', NO_PROXY: 'localhost' },
    'https://localhost:1',
    undefined,
  ],
] as [Record<string, string>, string, string | undefined][])('%j and %s: %s', (env, url, expected) => {
  expect(choice(env, url)).toBe(expected)
})

test('user name and password are decoded, and in no field that is shown', () => {
  const env = { HTTPS_PROXY: 'http://me%40corp:p%3A%2Fa%25%C3%A4@proxy.corp:3128/' }
  const proxy = Proxies.fromEnvironment(env).for(new URL('https://r.example'))
  expect(proxy?.authorization).toBe(`Basic ${Buffer.from('me@corp:p:/a%ä').toString('base64')}`)
  expect([proxy?.name, proxy?.url.href, proxy?.from]).toEqual([
    'proxy.corp:3128',
    'http://proxy.corp:3128/',
    'HTTPS_PROXY',
  ])
})

test.each([
  ['proxy.corp', 'proxy.corp:80'],
  ['proxy.corp:3128', 'proxy.corp:3128'],
  ['HTTPS://proxy.corp', 'proxy.corp:443'],
  ['user:secret@proxy.corp:3128', 'proxy.corp:3128'],
  ['http://user:sec@ret@proxy.corp:3128', 'proxy.corp:3128'],
  ['http://[fd00::1]:3128', '[fd00::1]:3128'],
])('%s is %s', (value, name) => {
  expect(Proxies.fromEnvironment({ https_proxy: value }).for(new URL('https://r.example'))?.name).toBe(name)
})

test.each([
  // The beginning of an unencoded password must not be taken for the host, and asked for in the DNS.
  ['http://user:1#ret@proxy:3128', /more than user/, /%23/],
  ['http://user:1?ret@proxy:3128', /more than user/, /%3F/],
  ['http://user:sec/ret@proxy:3128', /not a valid URL/, /%2F/],
  ['http://12:34/secret@proxy:3128', /more than user/, /%2F/],
  ['http://user:secret%zz@proxy:3128', /not a percent-encoding/, /%25/],
  ['http://proxy:3128/path', /more than user/, /HTTPS_PROXY=http/],
  ['socks5://user:secret@proxy:1080', /SOCKS/, /NO_PROXY/],
  ['socks5h://proxy:1080', /SOCKS/, /HTTP proxy/],
  ['ftp://proxy', /neither with http/, /HTTPS_PROXY=http/],
  ['http://', /not a valid URL/, /HTTPS_PROXY=http/],
  ['http://secret proxy', /not a valid URL/, /HTTPS_PROXY=http/],
])('%s is refused, when it is needed', async (value, message, hint) => {
  const proxies = Proxies.fromEnvironment({ HTTPS_PROXY: value, NO_PROXY: 'inside.example' })
  expect(proxies.for(new URL('https://inside.example'))).toBeUndefined()
  expect(proxies.for(new URL('http://r.example'))).toBeUndefined()
  const error = await failureOf(() => proxies.for(new URL('https://r.example')), 'USAGE')
  expect(error.message).toMatch(message)
  expect(error.message).toMatch(/^HTTPS_PROXY does not name a proxy/)
  expect(error.hint).toMatch(hint)
})

test('[duty: no-secrets] no error quotes what stands in the variable', () => {
  const secret = 'hunter2'
  const mark = fc.constantFrom('@', ':', '/', '#', '?', '%', '\\', ' ', '[', ']')
  const text = fc.array(fc.oneof(mark, fc.constant(secret), fc.constant('proxy')), { maxLength: 8 })
  fc.assert(
    fc.property(fc.constantFrom('', 'http://', 'https://', 'socks5://'), text, (scheme, parts) => {
      try {
        Proxies.fromEnvironment({ HTTPS_PROXY: `${scheme}${parts.join('')}` }).for(
          new URL('https://r.example'),
        )
      } catch (error) {
        expect(error).toBeInstanceOf(AirgapError)
        const { message, hint, cause } = error as AirgapError
        expect(`${message} ${hint} ${String(cause)}`).not.toContain(secret)
      }
    }),
  )
})

test('given by a program, and none', () => {
  const url = new URL('https://r.example')
  expect(Proxies.given({ https: 'http://p:1' }).for(url)?.from).toBe('the option proxies.https')
  expect(Proxies.given({ https: 'http://p:1', noProxy: '.example' }).for(url)).toBeUndefined()
  expect(Proxies.given({}).for(url)).toBeUndefined()
  expect(Proxies.given({ https: 'p', loopback: true }).for(new URL('https://localhost'))?.name).toBe('p:80')
})

test('a proxy that is not for this host is told of', () => {
  const why = (env: Record<string, string>, url = 'https://r.example') =>
    Proxies.fromEnvironment(env).whyDirect(new URL(url))
  expect(why({ HTTPS_PROXY: 'p', NO_PROXY: '.example' })).toContain('NO_PROXY')
  expect(why({ HTTPS_PROXY: 'p' })).toBeUndefined()
  expect(why({ HTTP_PROXY: 'p' })).toBe('HTTP_PROXY is set, but not for HTTPS.')
  expect(why({ https_proxy: 'p' }, 'http://r.example')).toBe('https_proxy is set, but not for plain HTTP.')
  expect(why({ HTTP_PROXY: 'p', NO_PROXY: '*' }, 'https://localhost')).toBeUndefined()
  expect(why({})).toBeUndefined()
})
