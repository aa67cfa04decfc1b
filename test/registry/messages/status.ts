import { answers, against, page, plain, pull, readBlob } from './answers.ts'
import type { Case } from './case.ts'

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
    name: 'an image that a policy of Harbor holds back',
    provoke: against(
      answers(412, 'PROJECTPOLICYVIOLATION', 'The image is not signed by cosign.'),
      (repository) => repository.resolveManifest('1.27.9'),
    ),
    says: /^cannot resolve .*: a policy of the project forbids pulling it: .* answers 412 Precondition Failed \("PROJECTPOLICYVIOLATION: The image is not signed by cosign\."\)$/,
    hints: [/cosign sign --recursive/],
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
    says: /: it was not found: \S+ answers 404 Not Found$/,
    hints: [/spelling/],
  },
  {
    name: '404 from a web server',
    provoke: against(page(404, '<html><head><title>404 | nginx</title>'), pull),
    says: /: it was not found, and the answer is not one of a registry: .* \(an HTML page titled "404 | nginx", which no registry sends\)$/,
    hints: [/host and port/],
  },
  {
    name: '405 to a GET',
    provoke: against(plain(405, ''), pull),
    says: /: the registry does not support this request: /,
    hints: [/host and port/],
  },
  {
    name: 'plain HTTP on a TLS port',
    provoke: against(
      page(400, '<html><head><title>400 The plain HTTP request was sent to HTTPS port</title>'),
      pull,
    ),
    says: /: it expects TLS: /,
    hints: [/leave --plain-http out for 127/],
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
    hints: [/in front of it/],
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
    says: /: the storage behind the registry refuses the request: localhost:\d+ \(where 127\.0\.0\.1:\d+ redirects to\) answers 403 Forbidden/,
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
]
