import { type Context, during } from '../notices.ts'
import { forbidden, unauthorized } from './access.ts'
import { type FailedAnswer, isAccount, type Meaning } from './answer.ts'
import { NO_REGISTRY, NO_SUCH_REPOSITORY, NO_SUCH_TAG, quoted, readSaid, type Said } from './quote.ts'
import { CLIENT_CERTIFICATE, clientCertificateHint } from './tls.ts'
import { parseAmount } from '../net/throttle/quota.ts'
import { parseRetryAfter } from '../net/throttle/retry-after.ts'
import { formatSpan } from '../../bytes.ts'
import { aheadText } from './clock.ts'
import { STATUS_CODES } from 'node:http'
import { AirgapError } from '../../errors.ts'

// docker-registry 2.8 only gives the error number (ENOSPC, EDQUOT), without words.
const FULL =
  /no space left on device|disk quota exceeded|not enough (?:free )?(?:storage|disk|space)|"Err":\s*(?:28|122)\b/i
// Harbor (412 before 2.0, then 403), Quay, GitLab, Artifactory and Nexus each only say it in words.
const QUOTA =
  /exceed(?:s|ed)? the (?:configured )?(?:upper )?limit|quota.{0,40}exceeded|exceed.{0,40}quota|over the quota/i
const UNWRITABLE =
  /read-only file system|\b(?:mkdir|open|write|rename) [^"]{1,500}: permission denied|"Err":\s*(?:13|30)\b/i

/** What registries report about their storage, with 500, 507 or other statuses. */
function storageFault({ status, isWrite }: FailedAnswer, { words }: Said): Meaning | undefined {
  if (isWrite !== true) return undefined
  // A registry may quote the file system's error in a detail. Search no more text than an error needs.
  const start = words.slice(0, 8000)
  if (status === 507 || (status >= 500 && FULL.test(start))) {
    return {
      code: 'REGISTRY',
      cause: 'the disk of the registry is full',
      hint: 'Have space freed there: delete unused images, run its garbage collection, or enlarge the disk. Then push again; what has arrived is not sent again.',
      refusal: { kind: 'room', of: 'registry' },
    }
  }
  if ([400, 403, 412, 413, 500].includes(status) && QUOTA.test(start)) {
    return {
      code: 'REGISTRY',
      cause: 'a quota in the registry is used up',
      hint: 'Have the quota of the project raised (Harbor: Project Quotas), or delete what is not needed. Then push again; what has arrived is not sent again.',
      // A request that is too large says nothing about the next one.
      refusal: { kind: 'room', of: status === 413 ? 'content' : 'project' },
    }
  }
  if (status >= 500 && UNWRITABLE.test(start)) {
    return {
      code: 'REGISTRY',
      cause: 'the registry cannot write to its disk',
      hint: 'On its machine, the storage folder has to belong to the user that the registry runs as, and the file system must not be mounted read-only.',
      refusal: { kind: 'room', of: 'registry' },
    }
  }
  return undefined
}

/** What an answer means: by the registry's error code or words, or else by the status. */
export function meaningOf(answer: FailedAnswer, said: Said, context: Context): Meaning {
  if (answer.redirectedTo !== undefined && answer.status !== 404) return behindRedirect(answer)
  return (
    storageFault(answer, said) ??
    readOnly(answer, said) ??
    policyViolation(answer, said) ??
    refusedContent(answer, said) ??
    byStatus(answer, said, context)
  )
}

function behindRedirect({ status, redirectedTo }: FailedAnswer): Meaning {
  if (status !== 401 && status !== 403) return { code: 'REGISTRY', cause: '' }
  return {
    code: 'REGISTRY',
    cause: 'the storage behind the registry refuses the request',
    hint: `Layers come from ${redirectedTo}: a firewall or proxy has to let this machine connect to it, too. Otherwise run the same command again: such links are only valid for minutes.`,
  }
}

function readOnly({ status, isWrite, isUpload }: FailedAnswer, { words }: Said): Meaning | undefined {
  const isSaid = isWrite === true && (status === 403 || status === 503) && /read.?only mode/i.test(words)
  // Amazon ECR also answers 405 to a manifest that it cannot read.
  if (!isSaid && (status !== 405 || /'ImageManifest'/.test(words))) return undefined
  if (isWrite !== true) {
    return { code: 'REGISTRY', cause: 'the registry does not support this request', hint: NO_REGISTRY }
  }
  return {
    code: 'REGISTRY',
    cause: 'the registry is read-only here',
    hint: 'It is in maintenance, or is a mirror or proxy cache, which accepts no pushes. Have its operator end the read-only mode (Harbor: Configuration, System Settings), or push into another project or registry.',
    refusal: { kind: 'read-only', of: isSaid ? 'registry' : isUpload === true ? 'project' : 'content' },
  }
}

/** Harbor's answer to a pull of an image that its project holds back (src/server/middleware/contenttrust). */
function policyViolation({ status }: FailedAnswer, { codes }: Said): Meaning | undefined {
  if (status !== 412 || !codes.has('PROJECTPOLICYVIOLATION')) return undefined
  return {
    code: 'REGISTRY',
    cause: 'a policy of the project forbids pulling it',
    hint: 'The project only serves what is signed, or has no known vulnerabilities (Harbor: Configuration of the project). That includes each platform of an image, its SBOMs and attestations. Have it signed there (cosign sign --recursive), have the policy changed, or use another project.',
    refusal: { kind: 'held-back', of: 'content' },
  }
}

/** Registries' answers to names and manifests that they do not accept. */
function refusedContent({ status, isWrite }: FailedAnswer, { codes, words }: Said): Meaning | undefined {
  if (status < 400 || status >= 500) return undefined
  const isBadName = status === 400 && /\binvalid repository name\b/i.test(words.slice(0, 2000))
  if (isBadName || codes.has('NAME_INVALID') || codes.has('TAG_INVALID')) {
    return {
      code: 'REGISTRY',
      cause: 'the registry does not accept this name',
      hint:
        isWrite === true
          ? [
              'Many registries limit how deep or how long a path may be (Docker Hub: two parts).',
              { id: 'shorter-names' },
            ]
          : 'Check the spelling of name and tag. In a Harbor every image is in a project: HOST/PROJECT/NAME.',
    }
  }
  if (isWrite !== true) return undefined
  if (codes.has('MANIFEST_BLOB_UNKNOWN') || codes.has('BLOB_UNKNOWN')) {
    return {
      code: 'REGISTRY',
      cause: 'the registry does not have a part of this manifest',
      hint: 'It has deleted the part meanwhile (garbage collection), or lost it. Push again: what is missing is then sent. If it happens again, the registry says that it has a layer which it cannot find.',
    }
  }
  if (status !== 413 && (codes.has('DIGEST_INVALID') || codes.has('SIZE_INVALID'))) {
    return {
      code: 'REGISTRY',
      cause: 'the registry received other bytes than were sent',
      hint: 'Something on the way changes them (a proxy, a virus scanner), or its storage is damaged. Push again; if it happens again, push by another route.',
    }
  }
  if (codes.has('MANIFEST_INVALID')) {
    return {
      code: 'REGISTRY',
      cause: 'the registry does not accept this kind of manifest',
      hint: 'Old registries know neither OCI manifests nor indexes with attestations. Update it, or check whether it limits what it accepts.',
    }
  }
  return undefined
}

function byStatus(answer: FailedAnswer, said: Said, context: Context): Meaning {
  const { registry } = context
  switch (answer.status) {
    case 400:
      return badRequest(said, registry)
    case 401:
      return unauthorized(answer, said, registry)
    case 403:
      return forbidden(answer, said)
    case 404:
      return notFound(answer, said)
    case 407:
      return {
        code: 'REGISTRY',
        cause: 'a proxy on the way wants a user name and password',
        hint: 'Put them into the variable that names the proxy: HTTPS_PROXY=http://USER:PASSWORD@PROXY',
      }
    case 413:
      return {
        code: 'REGISTRY',
        cause: 'it is too large for the registry or for a proxy in front of it',
        hint: 'A proxy may need a larger limit (nginx: client_max_body_size 0; in a cluster the annotation nginx.ingress.kubernetes.io/proxy-body-size: "0").',
      }
    case 429:
      return rateLimited(answer, registry)
    case 502:
    case 503:
    case 504:
      return {
        code: 'REGISTRY',
        cause: 'the registry is not ready',
        hint: 'Either it does not answer the proxy in front of it, or it is starting. Check it there, and run the same command again.',
      }
    default:
      if (answer.status >= 300 && answer.status < 400)
        return { code: 'REGISTRY', cause: 'an unexpected redirect', hint: NO_REGISTRY }
      if (answer.status >= 500) {
        return {
          code: 'REGISTRY',
          cause: 'a fault in the registry',
          hint: "The registry's own log says more. Run the same command again when it is fixed.",
        }
      }
      return { code: 'REGISTRY', cause: '' }
  }
}

function badRequest({ words, isPage }: Said, registry: string): Meaning {
  const start = words.slice(0, 2000)
  if (
    /HTTP request (?:was sent )?to (?:an )?HTTPS|plain HTTP to an SSL-enabled|client sent an http request/i.test(
      start,
    )
  ) {
    return {
      code: 'REGISTRY',
      cause: 'it expects TLS',
      hint: { id: 'no-plain-http', host: registry },
    }
  }
  if (/no required SSL certificate was sent|SSL certificate error/i.test(start)) {
    return { code: 'TLS', cause: CLIENT_CERTIFICATE, hint: clientCertificateHint(registry) }
  }
  // An answer to HEAD has no text.
  if (isPage && words === '') {
    return {
      code: 'REGISTRY',
      cause: '',
      hint: `If it wants a client certificate: ${clientCertificateHint(registry)}`,
    }
  }
  return { code: 'REGISTRY', cause: '' }
}

function notFound({ isWrite, redirectedTo }: FailedAnswer, { codes, isPage, words }: Said): Meaning {
  if (redirectedTo !== undefined) {
    return {
      code: 'NOT_FOUND',
      cause: 'the storage behind the registry does not have it',
      hint: ['The registry knows it, but has lost its bytes.', { id: 'take-elsewhere' }],
    }
  }
  if (isWrite === true) {
    return {
      code: 'NOT_FOUND',
      cause: 'the registry has no such project or repository to push into',
      hint: 'Create it there first (Harbor: a project; ECR: a repository; Gitea: an owner, which is a user or an organisation), or check the spelling of the path. The first part after the host is the project, or the owner.',
    }
  }
  if (codes.has('NAME_UNKNOWN')) {
    return { code: 'NOT_FOUND', cause: NO_SUCH_REPOSITORY, hint: 'Check the spelling of the name.' }
  }
  if (codes.has('MANIFEST_UNKNOWN') || codes.has('TAG_UNKNOWN')) {
    return {
      code: 'NOT_FOUND',
      cause: NO_SUCH_TAG,
      isTagMissing: true,
      hint: 'Check the spelling of name and tag; what a lock has pinned may have been deleted since.',
    }
  }
  if (codes.has('BLOB_UNKNOWN')) {
    return {
      code: 'NOT_FOUND',
      cause: 'the registry has lost this part of the image',
      hint: ['Its manifest is there, but this blob is not.', { id: 'take-elsewhere' }],
    }
  }
  const isStranger = isPage || (codes.size === 0 && words.trim() !== '')
  return {
    code: 'NOT_FOUND',
    cause: isStranger ? 'it was not found, and the answer is not one of a registry' : 'it was not found',
    hint: isStranger
      ? NO_REGISTRY
      : 'Check the spelling of name and tag; what a lock has pinned may have been deleted since.',
  }
}

/** 429: until when, whose limit it is, and what to do. */
function rateLimited(answer: FailedAnswer, registry: string, now: number = Date.now()): Meaning {
  const wait = parseRetryAfter(answer.retryAfter, { date: answer.date, now })
  const { auth } = answer
  return {
    code: 'RATE_LIMITED',
    cause: `too many requests${wait === undefined ? limitText(answer.rateLimit) : `, until ${aheadText(now + wait, now)}`}`,
    hint: isAccount(auth)
      ? [
          `The limit of the account${auth.username === undefined ? '' : ` ${quoted(auth.username, 80)}`} is used up.`,
          { id: 'other-account', registry },
          { id: 'fewer-transfers' },
        ]
      : [
          { id: 'higher-limit', registry },
          { id: 'fewer-transfers' },
          'Without a login, all users behind the same address share one limit.',
        ],
  }
}

function limitText(header: string | undefined): string {
  const limit = parseAmount(header)
  if (limit?.window === undefined) return ''
  return ` (${limit.amount} in ${formatSpan(limit.window * 1000)} are allowed)`
}

/**
 * The error for an answer that is not a success: first the cause in our words, then who answered what, then the
 * answer's own words, quoted in parentheses. 401 is `UNAUTHORIZED` (with an accepted token: `DENIED`), 403 `DENIED`,
 * 404 `NOT_FOUND`, 429 `RATE_LIMITED`, all else `REGISTRY`. 408, 425, 429 and 5xx are marked as transient, unless the
 * registry says that its storage is full or cannot be written to.
 */
export function statusError(answer: FailedAnswer, context: Context): AirgapError {
  const { status, redirectedTo } = answer
  const said = readSaid(answer.body, answer.contentType)
  const { code, cause, hint, refusal, isTagMissing } = meaningOf(answer, said, context)
  const name = STATUS_CODES[status]
  const quote = said.text === '' ? '' : ` (${said.text})`
  const told = `${answeredBy(answer, context.registry)} answers ${status}${name === undefined ? '' : ` ${name}`}${quote}`
  const error = new AirgapError(code, cause === '' ? told : `${cause}: ${told}`, {
    ...during(context),
    hint,
    refusal,
    missing: isTagMissing ? { told } : undefined,
  })
  const mayPass = status === 408 || status === 425 || status === 429 || status >= 500
  if (mayPass && refusal === undefined) {
    return error.with({
      transience: { retryAfterMs: parseRetryAfter(answer.retryAfter, { date: answer.date }) },
    })
  }
  // A signed link may have expired; the registry gives a new one when asked again.
  if (redirectedTo !== undefined && (status === 401 || status === 403))
    return error.with({ transience: { attempts: 2 } })
  return error
}

function answeredBy({ redirectedTo, tokenService }: FailedAnswer, registry: string): string {
  if (tokenService !== undefined) return `${tokenService} (the token service of ${registry})`
  return redirectedTo === undefined ? registry : `${redirectedTo} (where ${registry} redirects to)`
}
