import { AirgapError } from '../../../src/errors.ts'
import { accessQuirks } from './quirks/access.ts'
import { answerQuirks } from './quirks/answers.ts'
import { blobQuirks } from './quirks/blobs.ts'
import { manifestQuirks } from './quirks/manifests.ts'
import type { QuirkPart, QuirkSet } from './quirks/part.ts'
import { sessionQuirks } from './quirks/sessions.ts'
import { uploadQuirks } from './quirks/uploads.ts'
import { isRedirecting, wayQuirks } from './quirks/ways.ts'

/** What registries, and proxies in front of them, do with uploads. */
export const UPLOAD_QUIRKS = {
  'patch-201': 'A chunk is answered 201, as ECR does.',
  'patch-204': 'A chunk is answered 204.',
  'no-patch': 'PATCH is refused with 405.',
  'no-monolithic-put':
    'A PUT that brings the bytes is refused with 404, as Artifactory does: they come by PATCH.',
  'second-chunk-refused': 'Each upload takes one chunk, and refuses the next with 400.',
  'chunk-min-length': 'Sessions ask for chunks of 64 KiB at least, and a smaller one must be the last.',
  'max-body-413-html': 'A request of more than 1 MiB is refused with 413 and an HTML page, as nginx does.',
  'max-body-416':
    'A chunk of more than 1 MiB is refused with 416 and an explanation, as GHCR does above 4 MiB.',
  'session-lost-on-drop':
    'A client that breaks off in the middle of a chunk loses its upload, as with docker-registry 2.8.',
  'keep-partial-chunk': 'Of a chunk that breaks off, what came is kept.',
  'upload-416-once': 'The second chunk of each upload is refused once with 416 and not kept.',
  'upload-416-always': 'Every chunk is refused with 416.',
  'location-changes':
    'Each answer moves the upload to another Location, and the Locations before do not work any more.',
  'upload-other-origin': 'Uploads go to another origin: localhost instead of 127.0.0.1.',
  'token-expires-mid-upload': 'After the first chunk all tokens given out so far are worthless.',
  'range-missing': 'No answer to an upload carries a Range.',
  'range-bytes': 'The Range of an upload is written bytes=0-N.',
  'range-stale': 'The Range in the answer to a chunk stays at the first chunk, as ECR does.',
  'ignore-content-range':
    'Chunks are appended, whatever their Content-Range says, as docker-registry 2.8 does.',
  'no-upload-status': 'A GET that asks how far an upload is gets 400 about something else, as with crane.',
  'put-200': 'The end of an upload is answered 200, and the blob is stored.',
  'put-204': 'The end of an upload is answered 204, and the blob is stored.',
  'put-bare-201': 'The end of an upload is answered 201 with neither Location nor digest.',
  'put-other-digest': 'The end of an upload is answered with the digest of something else.',
} as const

/**
 * What real registries, and the proxies and networks in front of them, do besides what the specification says. The
 * embedded registry does it on demand, by these names; several may be shown together.
 */
export const QUIRKS = {
  // Any answer
  'no-digest-header': 'No answer carries Docker-Content-Digest.',
  'wrong-digest-header': 'Docker-Content-Digest is a valid digest of something else, in every answer.',
  'head-405': 'HEAD is refused everywhere.',
  'html-200': 'Everything is answered with an HTML page and status 200, as captive portals do.',
  'busy-once': 'The first request to each path is answered 503 with Retry-After: 0.',
  'busy-date-once': 'The first request to each path is answered 503 with the present date as Retry-After.',
  'rate-limit-once': 'The first request to each path is answered 429 with Retry-After: 0.',
  'timeout-408-once': 'The first request to each path is answered 408.',
  'too-early-425-once': 'The first request to each path is answered 425.',

  // Challenges and tokens
  'basic-and-bearer': 'One challenge header offers Basic, Bearer and Negotiate.',
  'realm-relative': 'The token realm is a path with a query, and requests that drop the query are refused.',
  'realm-with-service':
    'The token realm has the service in its own query, and a service that is given twice is refused.',
  'token-post-404': 'POST to the token service is answered 404, as where it only knows GET.',
  'token-post-405': 'POST to the token service is answered 405.',
  'token-only': 'The token service answers with `token`, without `access_token`.',
  'access-token-only': 'The token service answers with `access_token`, without `token`.',
  'no-expires-in': 'The token service does not say how long a token lasts.',
  'fresh-token-refused': 'Every token is refused with 401 and a new challenge.',
  'missing-403': 'A manifest that is not there is answered 403, as Artifactory does.',

  // Manifests
  'corrupt-manifest': 'One byte of each manifest is changed in GETs; it stays JSON and names another digest.',
  'endless-body': 'A manifest GET streams blanks and never ends.',
  'head-no-length': 'HEAD of a manifest is answered without Content-Length.',
  'no-content-type': 'Manifests come without Content-Type.',
  'wrong-content-type': 'Indexes come as manifests by their Content-Type, and manifests as indexes.',
  'schema-1': 'Manifests come as Docker schema 1.',
  'ambiguous-manifest': 'Manifests come with both `layers` and `manifests`.',
  'media-type-required':
    'A manifest whose body states no mediaType is refused with 405 and words about JSON, as Amazon ECR does.',
  'artifacts-refused':
    'What is no image is refused with 400 and words about its media type, as GitLab does for types that it does not know.',
  'docker-types-refused':
    "Docker's own types of manifests are refused with 415 MANIFEST_INVALID, as zot does.",
  'nested-index-refused':
    'An index that lists another index is refused with 400 MANIFEST_INVALID, as Gitea does.',
  'manifest-413': 'A manifest of more than 1 KiB is refused with 413.',

  // What refers to a manifest
  'no-tag-list': 'The list of tags is answered 404.',
  'partial-tag-list': 'The list of tags has none of those that are there.',
  'no-referrers':
    'The list of referrers is not known (404), and a put of what refers to something is answered without OCI-Subject.',
  'referrers-401': 'The list of referrers is answered 401 without a challenge, as Harbor 2.7 did.',
  'referrers-redirect':
    'The list of referrers is answered 303 to a web page at the option redirectTo, as GHCR does.',
  'fallback-tag-is-subject':
    'There is no list of referrers, and the tag that stands in for it is the subject itself, as GitLab had it.',

  // Blobs that are read
  'stored-blob-empty':
    'Every blob that is there has the right digest header and length 0, as in a damaged store.',
  'corrupt-blob': 'The middle byte of each blob is changed in GETs.',
  'wrong-content-length': 'A blob GET closes the connection one byte before the announced end, every time.',
  'no-content-length': 'Blobs come without Content-Length, in chunks.',
  'truncate-once':
    'The first GET of each blob is cut half-way by closing the connection; later ones are whole.',
  'reset-once': 'The first GET of each blob is cut half-way by resetting the connection.',
  'ignore-range': 'Range headers are ignored: 200 with the whole blob.',
  'range-416': 'Every Range is answered 416.',
  'range-wrong-start': 'A Range is answered 206 with the whole blob, which Content-Range says.',
  'range-wrong-bytes': 'A Range is answered 206 with other bytes than there are.',
  'redirect-blobs': 'A blob GET is answered 307 to the same path, with a query, at the option redirectTo.',
  'redirect-302': 'As redirect-blobs, with 302.',
  'redirect-303': 'As redirect-blobs, with 303.',
  'redirect-308': 'As redirect-blobs, with 308.',
  'redirect-relative': 'A blob GET is answered 307 with a relative Location.',
  'gzip-manifests': 'Manifests are compressed on their way, though nobody asked for it.',
  'gzip-blobs': 'Blobs are compressed on their way, though nobody asked for it.',
  'gzip-label': 'Manifests and blobs carry Content-Encoding: gzip, and are as they should be all the same.',

  // Uploads
  'mount-401': 'A request to mount a blob is answered 401 without a challenge, as Harbor does.',
  'mount-202': 'A request to mount a blob always opens an upload session instead.',
  'relative-location': 'Location headers are paths, not full URLs.',
  'location-with-query': 'Upload Locations carry a query, and requests that drop it are refused.',
  ...UPLOAD_QUIRKS,
} as const

export type Quirk = keyof typeof QUIRKS

/**
 * @param names what to show; state such as "the first request" is kept per set.
 * @param redirectTo origin (`http://host:port`) for quirks that redirect.
 * @param revokeTokens makes all tokens given out so far worthless.
 * @throws AirgapError `USAGE` where that is missing.
 */
export function quirkSet(
  names: readonly Quirk[],
  redirectTo: string | undefined,
  revokeTokens: () => void = () => {},
): QuirkSet {
  const on = new Set<Quirk>(names)
  if (isRedirecting(on) && redirectTo === undefined) {
    throw new AirgapError('USAGE', 'a quirk that redirects needs the option redirectTo')
  }
  const parts: QuirkPart[] = [
    answerQuirks(on),
    accessQuirks(on),
    manifestQuirks(on, redirectTo),
    uploadQuirks(on, revokeTokens),
    sessionQuirks(on),
    wayQuirks(on, redirectTo),
    blobQuirks(on),
  ]
  return {
    front(request) {
      for (const part of parts) {
        const reply = part.front?.(request)
        if (reply) return reply
      }
      return undefined
    },
    async inside(request) {
      for (const part of parts) {
        const reply = await part.inside?.(request)
        if (reply) return reply
      }
      return undefined
    },
    after(request, given) {
      const copy = { ...given, headers: { ...given.headers } }
      return parts.reduce((reply, part) => part.after?.(request, reply) ?? reply, copy)
    },
  }
}
