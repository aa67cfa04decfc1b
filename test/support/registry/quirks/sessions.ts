import { fault } from '../../../../src/serve/registry/reply.ts'
import type { Quirk } from '../quirks.ts'
import { signatureOf, type QuirkPart } from './part.ts'

const STATE = '_state'

/** Where uploads begin: mounts, and the Locations of sessions. */
export function sessionQuirks(on: ReadonlySet<Quirk>): QuirkPart {
  return {
    inside({ route, query }) {
      if (route.kind === 'uploads' && query.has('mount')) {
        if (on.has('mount-401')) return fault(401, 'UNAUTHORIZED', 'project not found')
        if (on.has('mount-202')) {
          query.delete('mount')
          query.delete('from')
        }
      }
      const isLost = route.kind === 'upload' && query.get(STATE) !== signatureOf(route.id)
      if (isLost && on.has('location-with-query')) {
        return fault(400, 'BLOB_UPLOAD_INVALID', 'the upload state is missing from the URL')
      }
      return undefined
    },

    after({ origin }, reply) {
      const { headers } = reply
      const upload = /\/blobs\/uploads\/([^/?]+)$/.exec(headers['Location'] ?? '')?.[1]
      if (on.has('location-with-query') && upload !== undefined) {
        headers['Location'] += `?${new URLSearchParams({ [STATE]: signatureOf(upload) }).toString()}`
      }
      if (on.has('relative-location') && headers['Location']?.startsWith(origin)) {
        headers['Location'] = headers['Location'].slice(origin.length)
      }
      return reply
    },
  }
}
