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
} from '../../support/client.ts'

export type Ask = (repository: Repository) => Promise<unknown>

export const blob = sampleBytes(100)
export const digest = digestOf(blob)

export const pull: Ask = (repository) => repository.fetchManifest('1.27.9')
export const readBlob: Ask = (repository) => repository.openBlob(digest, 0)
export const put: Ask = (repository) => repository.putManifest('1.0', sampleManifest())
export const upload: Ask = (repository) =>
  repository.uploadBlob({ digest, size: blob.length }, async function* () {
    yield blob
  })

/** What happens when a registry answers so. */
export function against(handler: Handler, ask: Ask, credentials?: { user: string }): () => Promise<unknown> {
  return async () => {
    const { host } = await serve(handler)
    const auths = { [host]: basicEntry(credentials?.user ?? 'nobody', 'secret') }
    const client = makeClient({
      ...(credentials ? { authFile: authFileWith({ auths }) } : { env: { HOME: '/home/op' } }),
      // What is printed in the end is what counts here, not how long it was waited for.
      retry: { attempts: 1 },
    })
    await ask(client.repository(host, 'library/nginx'))
  }
}

export const answers =
  (status: number, code: string, message: string, detail?: unknown): Handler =>
  (_, response) =>
    json(response, status, { errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] })

export const page = (status: number, html: string): Handler => {
  return (_, response) => void response.writeHead(status, { 'content-type': 'text/html' }).end(html)
}

export const plain = (status: number, text: string): Handler => {
  return (_, response) => void response.writeHead(status).end(text)
}

/** Basic: a 401 first, then what `then` does. */
export const afterLogin =
  (then: Handler): Handler =>
  (seen, response, request) => {
    if (seen.headers.authorization !== undefined) return then(seen, response, request)
    return challenge(response)
  }

export function challenge(response: ServerResponse): void {
  response.setHeader('www-authenticate', 'Basic realm="r"')
  registryError(response, 401, 'UNAUTHORIZED', 'authentication required')
}

/** A token for everybody, from a clock that is `ahead` by this much, and a registry that then does `then`. */
export const withTokens =
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
