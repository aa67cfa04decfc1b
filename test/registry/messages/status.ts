import type { ServerResponse } from 'node:http'
import { digestOf } from '../../../src/oci/digest.ts'
import type { Repository } from '../../../src/registry/repository.ts'
import {
  authFileWith,
  basicEntry,
  json,
  makeClient,
  registryError,
  sampleBytes,
  sampleManifest,
  serve,
  type Handler,
} from '../helpers.ts'
import type { Case } from './case.ts'

type Ask = (repository: Repository) => Promise<unknown>

const blob = sampleBytes(100)
const digest = digestOf(blob)

const pull: Ask = (repository) => repository.fetchManifest('1.27.9')
const readBlob: Ask = (repository) => repository.openBlob(digest, 0)
const put: Ask = (repository) => repository.putManifest('1.0', sampleManifest())
const upload: Ask = (repository) =>
  repository.uploadBlob({ digest, size: blob.length }, async function* () {
    yield blob
  })

/** What happens when a registry answers so. */
function against(handler: Handler, ask: Ask, credentials?: { user: string }): () => Promise<unknown> {
  return async () => {
    const { host } = await serve(handler)
    const auths = { [host]: basicEntry(credentials?.user ?? 'nobody', 'secret') }
    const client = makeClient(
      credentials ? { authFile: authFileWith({ auths }) } : { env: { HOME: '/home/op' } },
    )
    await ask(client.repository(host, 'library/nginx'))
  }
}

const answers =
  (status: number, code: string, message: string, detail?: unknown): Handler =>
  (_, response) =>
    json(response, status, { errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] })

const page = (status: number, html: string): Handler => {
  return (_, response) => void response.writeHead(status, { 'content-type': 'text/html' }).end(html)
}

const plain = (status: number, text: string): Handler => {
  return (_, response) => void response.writeHead(status).end(text)
}

/** Basic: a 401 first, then what `then` does. */
const afterLogin =
  (then: Handler): Handler =>
  (seen, response, request) => {
    if (seen.headers.authorization !== undefined) return then(seen, response, request)
    return challenge(response)
  }

function challenge(response: ServerResponse): void {
  response.setHeader('www-authenticate', 'Basic realm="r"')
  registryError(response, 401, 'UNAUTHORIZED', 'authentication required')
}

/** A token for everybody, from a clock that is `ahead` by this much, and a registry that then does `then`. */
const withTokens =
  (then: Handler, ahead = 0): Handler =>
  (seen, response, request) => {
    if (seen.path === '/token') {
      const claims = Buffer.from(JSON.stringify({ iat: Math.floor((Date.now() + ahead) / 1000) }))
      return json(response, 200, { token: `e30.${claims.toString('base64url')}.x` })
    }
    if (seen.headers.authorization !== undefined) return then(seen, response, request)
    response.setHeader('www-authenticate', 'Bearer realm="/token",service="r"')
    return registryError(response, 401, 'UNAUTHORIZED')
  }

export const STATUS_CASES: Case[] = [
  {
    name: 'an unknown repository',
    provoke: against(answers(404, 'NAME_UNKNOWN', 'repository name not known to registry'), pull),
    says: /^cannot fetch the manifest 127\.0\.0\.1:\d+\/library\/nginx:1\.27\.9: the registry has no repository of this name: 127\.0\.0\.1:\d+ answers 404 Not Found \("NAME_UNKNOWN: repository name not known to registry"\)$/,
    hints: [/spelling of the name/],
  },
  {
    name: 'an unknown tag',
    provoke: against(answers(404, 'MANIFEST_UNKNOWN', 'manifest unknown', { Tag: '1.27.9' }), pull),
    says: /: the registry has no such tag or digest: .* answers 404 Not Found \("MANIFEST_UNKNOWN: manifest unknown"\)$/,
    hints: [/spelling of name and tag/, /lock/],
  },
  {
    name: 'a blob that is not there',
    provoke: against(answers(404, 'BLOB_UNKNOWN', 'blob unknown to registry'), readBlob),
    says: /^cannot fetch the blob sha256:[0-9a-f]{64} of .*\/library\/nginx: the registry has lost this part of the image: /,
    hints: [/--mirror/],
  },
  {
    name: '404 without a word',
    provoke: against((_, response) => void response.writeHead(404).end(), pull),
    says: /: there is no such thing: \S+ answers 404 Not Found$/,
    hints: [/spelling/],
  },
  {
    name: '404 from a web server',
    provoke: against(page(404, '<html><head><title>404 | nginx</title>'), pull),
    says: /: there is no such thing, and this is not how a registry says so: .* \(an HTML page titled "404 | nginx", which no registry sends\)$/,
    hints: [/host and port/],
  },
  {
    name: 'a missing project, in a push',
    provoke: against(answers(404, 'NAME_UNKNOWN', 'project library not found'), upload),
    says: /^cannot upload the blob .*: the registry has no such project or repository to push into: /,
    hints: [/Harbor: a project; ECR: a repository/],
  },
  {
    name: 'nobody logged in',
    provoke: against((_, response) => challenge(response), pull),
    says: /: credentials are needed: .* answers 401 Unauthorized \("UNAUTHORIZED: authentication required"\)$/,
    hints: [
      /^Log in with `airgap login 127\.0\.0\.1:\d+`/,
      /\nNone were found in: AIRGAP_REGISTRY \(not set\); \/home\/op\/\.docker\/config\.json \(no such file\); \/home\/op\/\.config\/containers\/auth\.json \(no such file\)\./,
      /\nIf the image should be public/,
    ],
  },
  {
    name: 'a wrong password',
    provoke: against((_, response) => challenge(response), pull, { user: 'robot$ci' }),
    says: /: the credentials of "robot\$ci" from \S+auth\.json are not accepted: /,
    hints: [/airgap login 127/],
  },
  {
    name: 'an account without the right',
    provoke: against(withTokens(answers(401, 'UNAUTHORIZED', 'access denied')), upload, { user: 'ci' }),
    says: /: permission denied to the account "ci" from \S+auth\.json: /,
    hints: [/the account may do this/, /right to write in this project/],
  },
  {
    name: '403 to somebody unknown',
    provoke: against(answers(403, 'DENIED', 'requested access to the resource is denied'), pull),
    says: /: permission denied to somebody who is not logged in: .* answers 403 Forbidden/,
    hints: [/the name is right/, /None were found in/],
  },
  {
    name: '403 from a firewall',
    provoke: against(page(403, '<html><title>Blocked by "policy"</title>'), pull),
    says: /: permission denied, by something in front of the registry: .*\(an HTML page titled "Blocked by 'policy'", which/,
    hints: [/proxy or firewall/],
  },
  {
    name: 'a rate limit with an end',
    provoke: against((_, response) => {
      response.setHeader('retry-after', '200')
      registryError(response, 429, 'TOOMANYREQUESTS', 'You have reached your pull rate limit.')
    }, pull),
    says: /: too many requests, until .*\d\d:\d\d:\d\d \S+ \(in 3 min (?:19|20) s\): .* answers 429 Too Many Requests/,
    hints: [/log in for a higher limit/, /--mirror/, /counted together/],
  },
  {
    name: 'the rate limit of an account, as Docker Hub tells it',
    provoke: against(
      afterLogin((_, response) => {
        response.setHeader('ratelimit-limit', '100;w=21600')
        registryError(response, 429, 'TOOMANYREQUESTS')
      }),
      pull,
      { user: 'ci' },
    ),
    says: /: too many requests \(100 in 6 h 0 min are allowed\): /,
    hints: [/The limit of the account "ci" is used up/],
  },
  {
    name: 'a full disk in the registry',
    provoke: against(
      (seen, response) =>
        seen.method === 'POST'
          ? void response.writeHead(202, { location: '/v2/upload/x' }).end()
          : json(response, 500, {
              errors: [
                {
                  code: 'UNKNOWN',
                  message: 'unknown error',
                  detail: 'write /var/lib/registry/data: no space left on device',
                },
              ],
            }),
      upload,
    ),
    says: /: the disk of the registry is full: .* answers 500 Internal Server Error \("UNKNOWN: unknown error: write \/var\/lib\/registry\/data: no space left on device"\)$/,
    hints: [/garbage collection/, /push again/],
  },
  {
    name: '507',
    provoke: against(plain(507, ''), upload),
    says: /: the disk of the registry is full: .* answers 507 Insufficient Storage$/,
    hints: [/garbage collection/],
  },
  {
    name: 'a quota',
    provoke: against(
      answers(
        403,
        'DENIED',
        'adding 29.0 MiB of storage resource, which when updated to current usage of 152.4 MiB will exceed the configured upper limit of 10.0 MiB.',
      ),
      put,
    ),
    says: /^cannot put the manifest .*: a quota in the registry is used up: /,
    hints: [/quota of the project raised/],
  },
  {
    name: 'a storage that cannot be written to',
    provoke: against(
      answers(
        500,
        'UNKNOWN',
        'unknown error',
        'filesystem: mkdir /var/lib/registry/docker: permission denied',
      ),
      upload,
    ),
    says: /: the registry cannot write to its disk: /,
    hints: [/belong to the user/],
  },
  {
    name: 'a read-only registry',
    provoke: against(plain(405, 'Method not allowed'), upload),
    says: /: the registry is read-only here: .* answers 405 Method Not Allowed \("Method not allowed"\)$/,
    hints: [/maintenance/, /proxy cache/],
  },
  {
    name: "Harbor's read-only mode",
    provoke: against(
      answers(403, 'DENIED', 'The system is in read only mode. Any modification is prohibited.'),
      upload,
    ),
    says: /: the registry is read-only here: /,
    hints: [/Harbor/],
  },
  {
    name: '405 to a GET',
    provoke: against(plain(405, ''), pull),
    says: /: the registry does not do this: /,
    hints: [/host and port/],
  },
  {
    name: 'too deep a path',
    provoke: against(answers(400, 'NAME_INVALID', 'invalid repository name'), upload),
    says: /: the registry does not take this name: /,
    hints: [/--path strip-host/, /--map/],
  },
  {
    name: 'something of a manifest missing',
    provoke: against(answers(400, 'MANIFEST_BLOB_UNKNOWN', 'blob unknown to registry', digest), put),
    says: /: the registry does not have a part of this manifest: .*"MANIFEST_BLOB_UNKNOWN: blob unknown to registry: sha256:[0-9a-f]{64}"/,
    hints: [/Push again/],
  },
  {
    name: 'other bytes than were sent',
    provoke: against(
      answers(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content'),
      upload,
    ),
    says: /: the registry has got other bytes than were sent: /,
    hints: [/virus scanner/],
  },
  {
    name: 'a kind of manifest that is not known',
    provoke: against(answers(400, 'MANIFEST_INVALID', 'manifest invalid'), put),
    says: /: the registry does not take this kind of manifest: /,
    hints: [/Update it/],
  },
  {
    name: '407',
    provoke: against(plain(407, ''), pull),
    says: /: a proxy on the way wants a user name and password: /,
    hints: [/HTTPS_PROXY/],
  },
  {
    name: '413',
    provoke: against(page(413, '<html><title>413 Request Entity Too Large</title>'), upload),
    says: /: it is too large for the registry or for a proxy in front of it: /,
    hints: [/client_max_body_size 0/, /proxy-body-size/],
  },
  {
    name: 'plain HTTP on a TLS port',
    provoke: against(
      page(400, '<html><head><title>400 The plain HTTP request was sent to HTTPS port</title>'),
      pull,
    ),
    says: /: it expects TLS: /,
    hints: [/Leave --plain-http out for 127/],
  },
  {
    name: 'a client certificate wanted by nginx',
    provoke: against(page(400, '<html><title>400 No required SSL certificate was sent</title>'), pull),
    says: /: it wants a client certificate, and got none that it accepts: /,
    hints: [/certs\.d\/127\.0\.0\.1:\d+\/client\.cert/],
  },
  {
    name: 'a registry that is being started',
    provoke: against(page(503, '<html><title>503 Service Temporarily Unavailable</title>'), pull),
    says: /: the registry is not ready: /,
    hints: [/behind that/],
  },
  {
    name: '500',
    provoke: against(answers(500, 'UNKNOWN', 'unknown error'), pull),
    says: /: a fault in the registry: /,
    hints: [/own log/],
  },
  {
    name: 'a storage that refuses',
    provoke: against((seen, response, request) => {
      if (request.headers.host?.startsWith('localhost'))
        return plain(403, '<Error><Code>AccessDenied</Code>')(seen, response, request)
      const elsewhere = `http://localhost:${request.socket.localPort}${seen.path}?X-Signature=s3cret`
      response.writeHead(307, { location: elsewhere }).end()
    }, readBlob),
    says: /: the storage behind the registry refuses: localhost:\d+ \(where 127\.0\.0\.1:\d+ redirects to\) answers 403 Forbidden/,
    hints: [/firewall or proxy/],
  },
  {
    name: 'a storage that has lost it',
    provoke: against((seen, response, request) => {
      if (request.headers.host?.startsWith('localhost')) return plain(404, '')(seen, response, request)
      response.writeHead(307, { location: `http://localhost:${request.socket.localPort}/x` }).end()
    }, readBlob),
    says: /: the storage behind the registry does not have it: /,
    hints: [/lost its bytes/],
  },
  {
    name: 'a redirect of a push',
    provoke: against((_, response) => void response.writeHead(301, { location: '/login' }).end(), upload),
    says: /: an unexpected redirect: /,
    hints: [/host and port/],
  },
  {
    name: 'redirects in a circle',
    provoke: against((seen, response) => void response.writeHead(302, { location: seen.path }).end(), pull),
    says: /: more than 5 redirects, the last from http/,
    hints: [/X-Forwarded-Proto/],
  },
  {
    name: 'a captive portal',
    provoke: against(page(200, '<!doctype html><title>Please log in\u001b[2J</title>'), pull),
    says: /: \S+ answers with an HTML page titled "Please log in \[2J", which no registry sends$/,
    hints: [/curl -i/],
  },
  {
    name: 'a token service that gives none',
    provoke: against((seen, response) => {
      if (seen.path === '/token') return void page(200, '<html>')(seen, response, undefined as never)
      response.setHeader('www-authenticate', 'Bearer realm="/token"')
      return registryError(response, 401, 'UNAUTHORIZED')
    }, pull),
    says: /: the token service of \S+ does not answer with a token but with an HTML page$/,
    hints: [/realm/],
  },
  {
    name: 'a token from a clock that is ahead',
    provoke: against(withTokens(answers(401, 'UNAUTHORIZED', 'token not valid yet'), 3_600_000), pull, {
      user: 'ci',
    }),
    says: /: permission denied to the account "ci"/,
    hints: [
      /The token says that it was issued at \d{4}-\d\d-\d\d \d\d:\d\d UTC, and the registry's clock says \d{4}-\d\d-\d\d \d\d:\d\d UTC/,
    ],
  },
  {
    name: 'a registry whose clock is behind',
    provoke: against((_, response) => {
      response.setHeader('date', new Date(Date.now() - 7_500_000).toUTCString())
      challenge(response)
    }, pull),
    says: /: credentials are needed/,
    hints: [/\nThe clock of the registry says .* UTC, and that of this machine .* UTC: 2 h [45] min apart\./],
  },
]
