import { statfsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { hintText, type Hint, type Hints } from './hints.ts'
import { redacted } from './text.ts'

/**
 * All error codes, each with the exit code of the command line.
 *
 * 1 unexpected fault · 2 usage · 3 verification failed · 4 registry or network ·
 * 5 authentication or permission · 6 incomplete, can be resumed · 7 local file or disk
 */
export const EXIT_CODES = {
  INTERNAL: 1,

  USAGE: 2,
  INVALID_REFERENCE: 2,
  INVALID_LIST: 2,
  INVALID_CONFIG: 2,
  INVALID_LOCK: 2,
  INVALID_POLICY: 2,
  INVALID_PLATFORM: 2,
  INVALID_DIGEST: 2,
  UNKNOWN_KUBEADM_RELEASE: 2,
  NAME_CONFLICT: 2,
  INVALID_TARGET_NAME: 2,
  TAG_WOULD_MOVE: 2,

  VERIFICATION_FAILED: 3,
  INVALID_CONTENT: 3,
  UPSTREAM_NOT_VERIFIED: 3,

  NETWORK: 4,
  TLS: 4,
  REGISTRY: 4,
  NOT_FOUND: 4,
  RATE_LIMITED: 4,
  CONTENT_MISMATCH: 4,
  UNSUPPORTED_CONTENT: 4,
  PLATFORM_MISSING: 4,

  UNAUTHORIZED: 5,
  DENIED: 5,
  CREDENTIALS: 5,
  PASSWORD: 5,
  SIGNING: 5,

  INTERRUPTED: 6,
  INCOMPLETE: 6,

  FILE: 7,
  OUTPUT_EXISTS: 7,
  OUTPUT_BUSY: 7,
  OUTPUT_UNFINISHED: 7,
  OUTPUT_UNSAFE: 7,
  DISK_FULL: 7,
  INVALID_KEY: 7,
} as const

export type ErrorCode = keyof typeof EXIT_CODES

/** One fault among several that are reported together. `entry` is the affected bundle entry or image. */
export interface Problem {
  entry: string
  message: string
  /** What the reader can do about it, if that differs between problems. */
  hints?: readonly Hint[]
  /** Kind of this failure, if the error covers several kinds. */
  code?: ErrorCode
  /**
   * `expectation`: sound, but not what the caller expects. `cut-off`: the file ends too early, as an incomplete copy.
   */
  kind?: 'expectation' | 'cut-off'
}

/** A registry's answer that will be the same for further requests. */
export interface Refusal {
  /**
   * `room`: the disk is full or not writable, or a quota is used up. `read-only`: nobody may write. `denied`: this
   * account may not. `held-back`: a policy of the project lets nobody read the content.
   */
  kind: 'room' | 'read-only' | 'denied' | 'held-back'
  /** What else the answer applies to; `content` for nothing else. */
  of: 'registry' | 'project' | 'repository' | 'content'
}

/** Why a fault may be temporary, so that a retry makes sense. */
export interface Transience {
  /** From Retry-After. */
  retryAfterMs?: number | undefined
  /** The most attempts, where that is fewer than usual. */
  attempts?: number | undefined
  /** The host is reachable but sent nothing, or too little, for a long time. */
  isStall?: true | undefined
}

/** The answer of a registry that led to an error. */
export interface Answer {
  status: number
  /** The registry's codes and messages, at most ten (distribution-spec § Error Codes). */
  errors: { code: string; message: string }[]
  /** The body as text, as far as it was read. From outside: escape it before showing it. */
  text: string
  /** The path of the requested URL. */
  path: string
  /** How the request was authenticated. */
  auth: 'none' | 'anonymous' | 'basic' | 'token'
}

/** The host that a fault came from. */
export interface Origin {
  /** `HOST[:PORT]`, as in URLs. */
  host: string
  /** The registry of the request, which may have redirected to another host. */
  registry: string
  /** The HTTP status of the answer; undefined without an answer. */
  status: number | undefined
  /** Every request to that host fails in the same way: requests to it are held back, or it is given up. */
  isOfHost: boolean
}

/** Facts about a fault for code, because no code reads a message. */
export interface Facts {
  /**
   * What failed: `fetch the manifest of registry.example/app:1`. The message is then `cannot DOING: REASON`.
   */
  doing?: string | undefined
  /**
   * What it is about, as in messages: an image, a repository, an entry. Without {@link Facts.doing}, which names the
   * subject itself, the message is `SUBJECT: REASON`.
   */
  subject?: string | undefined
  transience?: Transience | undefined
  /** The registry has no such tag or digest. `told` says who said so, and in which words. */
  missing?: { told: string } | undefined
  /** That of the cause where left out. */
  refusal?: Refusal | undefined
  /** That of the cause where left out. */
  answer?: Answer | undefined
  /** That of the cause where left out. */
  origin?: Origin | undefined
}

export interface AirgapErrorOptions extends Facts {
  /** What the reader can do about it. */
  hint?: Hints | undefined
  /** All faults, if a run found more than one. */
  problems?: Problem[] | undefined
  cause?: unknown
}

/**
 * The only error class. `message` says what happened, to which image, file and registry; `hint` says what to do. Texts
 * that look like secrets, and queries of URLs, are removed from both.
 */
export class AirgapError extends Error {
  override readonly name = 'AirgapError'
  readonly code: ErrorCode
  /** The message without its beginning; see {@link Facts}. */
  readonly reason: string
  readonly hints: readonly Hint[]
  readonly problems: Problem[]
  readonly doing: string | undefined
  readonly subject: string | undefined
  readonly transience: Transience | undefined
  readonly missing: { told: string } | undefined
  readonly refusal: Refusal | undefined
  readonly answer: Answer | undefined
  readonly origin: Origin | undefined

  /** @param reason the message without the beginning that comes from `doing` or `subject`. */
  constructor(code: ErrorCode, reason: string, options: AirgapErrorOptions = {}) {
    const { doing, hint, problems, cause } = options
    super(redacted(beginning(options) + reason), cause === undefined ? {} : { cause })
    this.code = code
    this.reason = redacted(reason)
    this.doing = doing
    this.hints = hint === undefined ? [] : [hint].flat()
    this.problems = (problems ?? []).map((problem) =>
      Object.assign({}, problem, { entry: redacted(problem.entry), message: redacted(problem.message) }),
    )
    const behind = cause instanceof AirgapError ? cause : undefined
    this.subject = options.subject
    this.transience = options.transience
    this.missing = options.missing
    this.refusal = options.refusal ?? behind?.refusal
    this.answer = options.answer ?? behind?.answer
    this.origin = options.origin ?? behind?.origin
  }

  get exitCode(): number {
    return EXIT_CODES[this.code]
  }

  /** What the reader can do about it, in the library's wording. The command line has its own wording. */
  get hint(): string | undefined {
    return this.hints.length === 0 ? undefined : redacted(hintText(this.hints))
  }

  /** A copy of the error with some facts changed. The cause stays the same, unless another is given. */
  with({
    code,
    reason,
    ...changes
  }: AirgapErrorOptions & { code?: ErrorCode; reason?: string }): AirgapError {
    const {
      hints: hint,
      problems,
      doing,
      subject,
      transience,
      missing,
      refusal,
      answer,
      origin,
      cause,
    } = this
    return new AirgapError(code ?? this.code, reason ?? this.reason, {
      hint,
      problems,
      doing,
      subject,
      transience,
      missing,
      refusal,
      answer,
      origin,
      cause,
      ...changes,
    })
  }
}

function beginning({ doing, subject }: Facts): string {
  if (doing !== undefined) return `cannot ${doing}: `
  return subject === undefined ? '' : `${subject}: `
}

/** Why an error may be temporary; undefined if it is not. */
export function transienceOf(error: unknown): Transience | undefined {
  return error instanceof AirgapError ? error.transience : undefined
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** An error's message followed by its hints, in the library's wording. */
export function withHint({ message, hint }: AirgapError): string {
  return hint === undefined ? message : `${message}. ${hint}`
}

/** An error as one of several problems. */
export function problemOf(entry: string, { message, hints }: AirgapError): Problem {
  return hints.length === 0 ? { entry, message } : { entry, message, hints }
}

/** Node's system error code (`ENOENT`, `ECONNREFUSED`, …) of anything thrown, if it has one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/**
 * Turns a fault of the file system into an {@link AirgapError} that names the path. An `AirgapError` is returned as it
 * is.
 */
export function fileError(error: unknown, action: string, path: string): AirgapError {
  if (error instanceof AirgapError) return error
  const code = systemCode(error)
  const reasons: Record<string, [ErrorCode, string, string?]> = {
    ENOENT: ['FILE', 'there is no such file or folder'],
    EISDIR: ['FILE', 'that is a folder'],
    ENOTDIR: ['FILE', 'a part of the path is not a folder'],
    EACCES: ['FILE', 'permission denied'],
    EPERM: ['FILE', 'the operation is not permitted'],
    EROFS: ['FILE', 'the file system is read-only'],
    EEXIST: ['OUTPUT_EXISTS', 'it already exists', 'Choose another name, or move the old file away.'],
    ELOOP: ['OUTPUT_UNSAFE', 'it is a symbolic link'],
    ENOSPC: ['DISK_FULL', 'the disk is full (ENOSPC)', 'Free some space, or write to another disk.'],
    EDQUOT: [
      'DISK_FULL',
      'the disk quota of this user is used up (EDQUOT)',
      'Free some space, or write to another disk.',
    ],
    EFBIG: [
      'DISK_FULL',
      'the file system cannot hold a file of that size',
      'FAT32 allows at most 4 GiB per file: format the medium as exFAT, ext4 or NTFS, or make smaller bundles.',
    ],
    EIO: ['FILE', 'the disk reports a read or write error (EIO)'],
  }
  const known = code === undefined ? undefined : reasons[code]
  if (known) {
    const where = known[0] === 'DISK_FULL' ? fileSystemText(path) : ''
    return new AirgapError(known[0], `cannot ${action} ${path}: ${known[1]}${where}`, {
      hint: known[2],
      cause: error,
    })
  }
  return new AirgapError('FILE', `cannot ${action} ${path}: ${messageOf(error)}`, { cause: error })
}

/** Which file system a path is on, and how much is free there; empty if the system does not say. */
function fileSystemText(path: string): string {
  try {
    const folder = dirname(resolve(path))
    const { bavail, bsize, blocks, files, ffree } = statfsSync(folder)
    const megabytes = (count: number): string =>
      `${Math.floor((count * bsize) / 1e6).toLocaleString('en-US')} MB`
    const isOutOfFiles = files > 0 && ffree === 0 ? ', and cannot hold more files (no inodes left)' : ''
    return `; the file system at ${mountOf(folder)} has ${megabytes(bavail)} of ${megabytes(blocks)} free${isOutOfFiles}`
  } catch {
    // The error is reported without these details.
    return ''
  }
}

/** The topmost folder on the same device. */
function mountOf(folder: string): string {
  const { dev } = statSync(folder)
  let top = folder
  for (let up = dirname(top); up !== top && statSync(up).dev === dev; up = dirname(top)) top = up
  return top
}
