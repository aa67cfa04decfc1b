import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { AirgapError } from '../../src/errors.ts'
import { redacted, withoutSecrets } from '../../src/text.ts'
import { downloadBlob } from '../../src/registry/blobs/download.ts'
import {
  authFileWith,
  basicEntry,
  failureOf,
  json,
  makeClient,
  registryError,
  serve,
  type Handler,
} from '../support/client.ts'
import { expectNoSecrets, noteSecret } from '../support/secrets/known.ts'
import { printed } from '../support/secrets/printed.ts'

const USER = 'robot$ci'
const PASSWORD = 'gr3en "tea" & milk/ö'
const TOKEN = 'opaque-t0ken-of-a-registry'
const REFRESH = 'refr3sh-token-of-bob'

/** Debugging pages, web application firewalls and proxies show what they were sent. */
const ECHOES: [name: string, type: string, body: (headers: object, sent: string) => string][] = [
  [
    'headers as text',
    'text/plain',
    (headers) =>
      Object.entries(headers)
        .map(([k, v]) => `${k}: ${v}`)
        .join('\n'),
  ],
  ['headers as JSON', 'application/json', (headers, sent) => JSON.stringify({ headers, sent })],
  [
    'an error of a registry',
    'application/json',
    (headers, sent) =>
      JSON.stringify({
        errors: [{ code: 'DENIED', message: JSON.stringify(headers), detail: `you sent ${sent}` }],
      }),
  ],
  ['a page', 'text/html', (headers) => `<html><title>${Object.values(headers).join(' ')}</title></html>`],
  ['the last of a form', 'text/plain', (_, sent) => `invalid: ${sent.split('&').at(-1)}`],
  [
    'the login, read out',
    'text/plain',
    (headers) => {
      const [, value = ''] =
        /^basic (.*)/i.exec((headers as { authorization?: string }).authorization ?? '') ?? []
      const login = Buffer.from(value, 'base64').toString()
      const password = login.slice(login.indexOf(':') + 1)
      return `no such user: ${login} (${JSON.stringify(login)}, ${encodeURIComponent(password)})`
    },
  ],
]

describe('[duty: no-secrets] an answer that repeats what was sent', () => {
  const echo =
    (status: number, type: string, body: (headers: object, sent: string) => string): Handler =>
    (seen, response) =>
      void response
        .writeHead(status, {
          'content-type': type,
          warning: `299 - "${seen.headers.authorization?.replaceAll('"', '')}"`,
        })
        .end(body(seen.headers, seen.body.toString()))

  async function printedBy(host: string, entry: object): Promise<string> {
    const client = makeClient({
      authFile: authFileWith({ auths: { [host]: entry } }),
      retry: { attempts: 1 },
    })
    const repository = client.repository(host, 'app')
    const errors = await Promise.all(
      [
        repository.fetchManifest('1'),
        repository.openBlob(digestOf('x'), 0),
        repository.uploadBlob({ digest: digestOf(''), size: 0 }, async function* () {}),
        repository.someTags(),
      ].map((action) =>
        action.then(
          () => '',
          (error: unknown) => printed(error),
        ),
      ),
    )
    expect(errors.join('')).not.toBe('')
    return [...errors, ...client.notices.map((notice) => JSON.stringify(notice))].join('\n')
  }

  test.each(ECHOES)('%s: neither password nor token is quoted', async (_, type, body) => {
    for (const status of [400, 403, 500]) {
      for (const challenge of ['Basic realm="r"', 'Bearer realm="/token"']) {
        const server = await serve((seen, response, request) => {
          if (seen.path === '/token') return json(response, 200, { token: TOKEN })
          if (seen.headers.authorization !== undefined)
            return echo(status, type, body)(seen, response, request)
          response.setHeader('www-authenticate', challenge)
          return registryError(response, 401, 'UNAUTHORIZED')
        })
        const text = await printedBy(server.host, basicEntry(USER, PASSWORD))
        for (const secret of [PASSWORD, TOKEN, basicEntry(USER, PASSWORD).auth])
          expect(text).not.toContain(secret)
        expectNoSecrets(text, 'what is printed')
      }
    }
  })

  test.each(ECHOES)('%s, of a token service: neither password nor identity token', async (_, type, body) => {
    for (const entry of [
      basicEntry(USER, PASSWORD),
      { ...basicEntry('<token>', ''), identitytoken: REFRESH },
    ]) {
      const tokens = await serve(echo(400, type, body))
      const server = await serve((_seen, response) => {
        response.setHeader('www-authenticate', `Bearer realm="${tokens.origin}/token"`)
        registryError(response, 401, 'UNAUTHORIZED')
      })
      noteSecret(REFRESH, 'an identity token')
      const text = await printedBy(server.host, entry)
      for (const secret of [PASSWORD, REFRESH]) expect(text).not.toContain(secret)
      expectNoSecrets(text, 'what is printed')
      expect(tokens.seen.length).toBeGreaterThan(0)
    }
  })

  test('a storage that names its signed URL', async () => {
    const storage = await serve((seen, response) => {
      const body = `<Error><Code>Expired</Code><Resource>${seen.url}</Resource> http://u:pw@s3.example${seen.url}</Error>`
      response.writeHead(403, { 'content-type': 'application/xml' }).end(body)
    })
    const query = 'X-Amz-Credential=AKIA123&X-Amz-Signature=si9nature&_state=st4te'
    const registry = await serve(
      (_, response) => void response.writeHead(307, { location: `${storage.origin}/x?${query}` }).end(),
    )
    const client = makeClient({ retry: { attempts: 2 } })
    const sink = { write: async () => {}, restartable: true }
    const descriptor = { mediaType: 'a/b', digest: digestOf('x'), size: 1 }
    const download = downloadBlob([client.repository(registry.host, 'app')], descriptor, sink, { client })
    const text = printed(await failureOf(download, 'REGISTRY'))
    expect(text).toContain('Expired')
    expect(text).not.toMatch(/AKIA123|si9nature|st4te|u:pw/)
    expect(storage.seen[0]?.url).toContain('si9nature')
  })
})

describe('[duty: no-secrets] the last line of defence', () => {
  test('an error has no secrets by their form, whatever it is made of', () => {
    const url = 'https://bob:word@h.example/x?X-Signature=abc#d'
    const error = new AirgapError('INTERNAL', `cannot ${url}`, {
      hint: `try ${url} with Authorization: Basic Ym9iOndvcmQ=`,
      problems: [{ entry: url, message: 'Bearer abc.def-0123456789' }],
    })
    expect(error.message).toBe('cannot https://…@h.example/x?…')
    expect(error.hint).toBe('try https://…@h.example/x?… with Authorization: Basic …')
    expect(error.problems).toEqual([{ entry: 'https://…@h.example/x?…', message: 'Bearer …' }])
  })

  test.each([
    ['"bob:w0rd@registry.example/app" is no reference', '"…@registry.example/app" is no reference'],
    ['bob:w0rd@localhost:5000/app', '…@localhost:5000/app'],
    ['token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2ln!', 'token …!'],
    ['socks5h://u:p@proxy.example:1080', 'socks5h://…@proxy.example:1080'],
    ['https://u:p@ss:w@h.example/x', 'https://…@h.example/x'],
    ['to /v2/a/blobs/uploads/1?_state=abc&x=1', 'to /v2/a/blobs/uploads/1?_state=…&x=1'],
    ['&amp;X-Goog-Signature=abc"', '&amp;X-Goog-Signature=…"'],
  ])('%s', (text, shown) => {
    expect(redacted(text)).toBe(shown)
  })

  test.each([
    ['as it is', PASSWORD],
    ['in JSON', JSON.stringify(PASSWORD).slice(1, -1)],
    ['in a URL', encodeURIComponent(PASSWORD)],
    ['in base64', Buffer.from(PASSWORD).toString('base64')],
    ['in base64 for URLs', Buffer.from(PASSWORD).toString('base64url')],
  ])('a value that was sent is found %s', (_, text) => {
    expect(withoutSecrets(`<${text}>`, [PASSWORD])).toBe('<…>')
  })

  test('doing it twice changes nothing, and names and digests stay', () => {
    const fragment = fc.constantFrom(
      'https://',
      'u:p@',
      'h.example',
      '/x',
      '?a=b',
      'Basic ',
      'Ym9iOg==',
      'eyJ',
      '.',
      ' ',
      '@',
      ':',
      '…',
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(fragment, fc.string({ maxLength: 12 })), { maxLength: 12 }), (parts) => {
        const once = redacted(parts.join(''))
        expect(redacted(once)).toBe(once)
      }),
    )
    for (const text of [
      `docker.io/library/nginx:1.27@${digestOf('x')}`,
      `registry.internal:5000/a/b@${digestOf('x')}: no`,
      `"nginx@${digestOf('x')}" and registry.internal:5000`,
      'https://registry.internal:5000/v2/a/manifests/1',
      'at file:///x/y.js:1:2',
    ]) {
      expect(redacted(text)).toBe(text)
    }
  })

  test('long texts take no time', () => {
    for (const part of ['eyJ-', 'http://', 'a:b@', 'a:', ' a:b', '&x-a-', 'Basic ', '?sig=', 'u:p@h.x/']) {
      redacted(part.repeat(4000))
      redacted(` ${part.repeat(4000)}@x.y/`)
    }
    expect(withoutSecrets(PASSWORD.repeat(2), [PASSWORD])).toBe('……')
    expect(withoutSecrets('a b c', ['', 'b', 'abc'])).toBe('a b c')
  })
})
