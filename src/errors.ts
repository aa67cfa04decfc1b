import { statfsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { hintText, type Hint, type Hints } from './hints.ts'
import { redacted } from './text.ts'

/**
 * Every failure this project knows by name, with the exit code that the command line gives it.
 *
 * 1 unexpected fault · 2 usage · 3 verification failed · 4 registry or network ·
 * 5 authentication or permission · 6 incomplete, can be taken up again · 7 local file or disk
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

/** One fault among several that are reported together. `entry` is the bundle entry or image concerned. */
export interface Problem {
  entry: string
  message: string
  /** What the reader can do about it, where that is not the same for all. */
  hints?: readonly Hint[]
  /** What kind of failure it is, where the error stands for failures of several kinds. */
  code?: ErrorCode
  /** The thing is sound, and is not what the caller expects; or a file ends too early, as one that was not copied whole. */
  kind?: 'expectation' | 'cut-off'
}

/** A registry's answer that stays the same, whatever is asked next. */
export interface Refusal {
  /**
   * `room`: the disk is full, cannot be written to, or a quota is used up. `read-only`: nobody may write. `denied`: this
   * account may not. `held-back`: a policy of the project does not let anybody read what is there.
   */
  kind: 'room' | 'read-only' | 'denied' | 'held-back'
  /** For what else it is the same; `content` for nothing else. */
  of: 'registry' | 'project' | 'repository' | 'content'
}

/** Why a fault may pass by itself, so that trying again makes sense. */
export interface Transience {
  /** What the registry asked for in Retry-After. */
  retryAfterMs?: number | undefined
  /** A lower bound on attempts than the policy's. */
  attempts?: number | undefined
  /** The peer is there, and sent nothing for a long time, or too little. */
  isStall?: true | undefined
}

/** What a registry has answered that became an error. */
export interface Answer {
  status: number
  /** The registry's codes and messages, at most ten (distribution-spec § Error Codes). */
  errors: { code: string; message: string }[]
  /** The body as text, as far as it was read. Foreign: not to be shown as it is. */
  text: string
  /** Of the URL that was asked for. */
  path: string
  /** With what the request went out. */
  auth: 'none' | 'anonymous' | 'basic' | 'token'
}

/** Which host a fault came from. */
export interface Origin {
  /** `HOST[:PORT]` as URLs have it. */
  host: string
  /** The registry that was asked, which may have led to another host. */
  registry: string
  /** What the host answered; undefined where it did not. */
  status: number | undefined
  /** Every request to that host meets the same: it is held now, or given up. */
  isOfHost: boolean
}

/** What is known of a fault besides its message, for code: no code reads a message. */
export interface Facts {
  /**
   * What could not be done: `fetch the manifest of registry.example/app:1`. The message is then `cannot DOING: REASON`.
   */
  doing?: string | undefined
  /**
   * What it is about, as messages name it: an image, a repository, an entry. Without {@link Facts.doing}, which names it,
   * the message is `SUBJECT: REASON`.
   */
  subject?: string | undefined
  transience?: Transience | undefined
  /** The registry has no such tag or digest, and `told` is who says so in which words. */
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
  /** All the faults, where a run found more than one. */
  problems?: Problem[] | undefined
  cause?: unknown
}

/**
 * The one error class. `message` says what happened, to which image, file and registry; `hint` says what to do. Never
 * holds a secret or a URL's query: what has the form of one is taken out.
 */
export class AirgapError extends Error {
  override readonly name = 'AirgapError'
  readonly code: ErrorCode
  /** The message without its beginning, see {@link Facts}. */
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

  /** @param reason the message without the beginning that `doing` or `subject` give it. */
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

  /** What the reader can do about it, in the library's words; the command line has its own for the same hints. */
  get hint(): string | undefined {
    return this.hints.length === 0 ? undefined : redacted(hintText(this.hints))
  }

  /** The same error with some of it changed. Its cause is that of the first one, unless another is given. */
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

/** Why an error may pass by itself, if it may. */
export function transienceOf(error: unknown): Transience | undefined {
  return error instanceof AirgapError ? error.transience : undefined
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** An error's message and its hints in one text, in the library's words. */
export function withHint({ message, hint }: AirgapError): string {
  return hint === undefined ? message : `${message}. ${hint}`
}

/** An error as one of several problems. */
export function problemOf(entry: string, { message, hints }: AirgapError): Problem {
  return hints.length === 0 ? { entry, message } : { entry, message, hints }
}

/** Node's system error code (`ENOENT`, `ECONNREFUSED`, …) of anything that was thrown, if it has one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/**
 * Turns a fault of the file system into an {@link AirgapError} that names the path. Errors that are already
 * ours pass through.
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
    EEXIST: ['OUTPUT_EXISTS', 'it exists already', 'Choose another name, or move the old file away.'],
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
      'FAT32 ends at 4 GiB a file: format the medium as exFAT, ext4 or NTFS, or make smaller bundles.',
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

/** Which file system a path is on, and what is left there; nothing where the system does not say. */
function fileSystemText(path: string): string {
  try {
    const folder = dirname(resolve(path))
    const { bavail, bsize, blocks, files, ffree } = statfsSync(folder)
    const megabytes = (count: number): string =>
      `${Math.floor((count * bsize) / 1e6).toLocaleString('en-US')} MB`
    const isOutOfFiles = files > 0 && ffree === 0 ? ', and no file can be added (inodes)' : ''
    return `; the file system at ${mountOf(folder)} has ${megabytes(bavail)} of ${megabytes(blocks)} free${isOutOfFiles}`
  } catch {
    // The disk is full, whatever else there would be to say about it.
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
