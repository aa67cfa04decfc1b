import { empty, fault, json, type Reply } from '../../../../src/serve/registry/reply.ts'
import type { Quirk } from '../quirks.ts'
import type { QuirkPart } from './part.ts'

const TOKEN_PATH = '/token'
/** What the realm's own query holds, with a character that has to stay escaped. */
const ACCOUNT = 'a&b'

/** Challenges, token services, and who is told what is not there. */
export function accessQuirks(on: ReadonlySet<Quirk>): QuirkPart {
  return {
    front(request) {
      if (request.path === TOKEN_PATH) {
        if (request.method === 'POST' && on.has('token-post-404')) return empty(404)
        if (request.method === 'POST' && on.has('token-post-405')) return empty(405, { Allow: 'GET' })
        if (on.has('realm-relative') && request.query.get('account') !== ACCOUNT) {
          return fault(400, 'UNSUPPORTED', 'the account is missing from the URL')
        }
        if (on.has('realm-with-service') && request.query.getAll('service').length !== 1) {
          return fault(400, 'UNSUPPORTED', 'one service is needed')
        }
      } else if (on.has('fresh-token-refused') && /^Bearer /i.test(request.headers.authorization ?? '')) {
        request.headers = { ...request.headers, authorization: undefined }
      }
      return undefined
    },

    after(request, reply) {
      const { headers, status } = reply
      const challenge = headers['WWW-Authenticate']
      if (challenge?.startsWith('Bearer ')) headers['WWW-Authenticate'] = changed(challenge, request.origin)
      if (request.path === TOKEN_PATH && status === 200) return withFewerFields(reply)
      const isRead = request.method === 'GET' || request.method === 'HEAD'
      if (on.has('missing-403') && status === 404 && isRead && request.route.kind === 'manifest') {
        return fault(403, 'DENIED', 'you have no permission to read this')
      }
      return reply
    },
  }

  function changed(challenge: string, origin: string): string {
    const realm = `realm="${origin}${TOKEN_PATH}"`
    let text = challenge
    if (on.has('realm-relative')) {
      text = text.replace(realm, `realm="${TOKEN_PATH}?account=${encodeURIComponent(ACCOUNT)}"`)
    }
    if (on.has('realm-with-service')) {
      const service = /service="([^"]*)"/.exec(text)?.[1] ?? ''
      text = text.replace(realm, `realm="${origin}${TOKEN_PATH}?service=${service}"`)
    }
    if (on.has('basic-and-bearer')) text = `Basic realm="the same, by password", ${text}, Negotiate`
    return text
  }

  function withFewerFields(reply: Reply): Reply {
    const answer = JSON.parse(Buffer.from(reply.body as Uint8Array).toString()) as Record<string, unknown>
    if (on.has('token-only')) delete answer['access_token']
    if (on.has('access-token-only')) delete answer['token']
    if (on.has('no-expires-in')) {
      delete answer['expires_in']
      delete answer['issued_at']
    }
    return json(answer)
  }
}
