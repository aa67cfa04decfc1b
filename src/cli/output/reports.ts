import { AirgapError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Report, ReportedCommand, SigningKey } from '../../index.ts'
import { log } from './log.ts'
import { SignedDocument } from './signed-document.ts'

/** Where a report is, as results name it. */
export interface ReportFile {
  file: string
  digest: Digest
  /** Of the key that it was signed with. */
  keyFingerprint?: string
}

/** What oclif's parser gives of a command line, in its order. */
type RawTokens = readonly ({ type: 'flag'; flag: string; input: string } | { type: 'arg'; input: string })[]

/**
 * The command line as it was typed.
 * @param known the command's flags, which say whether one takes a value.
 */
export function reportedCommand(
  name: string,
  raw: RawTokens,
  known: Readonly<Record<string, { type: string }>>,
): ReportedCommand {
  return {
    name,
    arguments: raw.flatMap((token) => (token.type === 'arg' ? [token.input] : [])),
    flags: raw.flatMap((token) => {
      if (token.type === 'arg') return []
      const hasValue = known[token.flag]?.type === 'option'
      return [{ name: token.flag, ...(hasValue ? { value: token.input } : {}) }]
    }),
  }
}

/**
 * Takes the names for a report.
 * @throws AirgapError `USAGE` for standard output; `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `FILE`
 */
export async function reserveReport(path: string, key: SigningKey | undefined): Promise<SignedDocument> {
  if (path === '-') {
    throw new AirgapError('USAGE', '--report - : a report goes to a file', {
      hint: 'It is kept, and its very bytes are signed. The result of the command as JSON is what --json gives.',
    })
  }
  return SignedDocument.reserve(path, key)
}

/**
 * Writes the report of a verification that has found no fault.
 * @param subject what has been done, for an error.
 * @throws AirgapError `FILE`, `DISK_FULL`, `OUTPUT_EXISTS`, and those of the key
 */
export async function keepReport(
  output: SignedDocument,
  report: Report,
  subject: string = SUBJECTS[report.verdict],
): Promise<ReportFile> {
  try {
    const { serializeReport } = await import('../../index.ts')
    const digest = await output.write(serializeReport(report))
    const { path: file, keyFingerprint } = output
    return { file, digest, ...(keyFingerprint === undefined ? {} : { keyFingerprint }) }
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    throw new AirgapError(
      error.code,
      `${subject}, but the report of that was not written: ${error.message}`,
      { hint: error.hints, cause: error },
    )
  }
}

const SUBJECTS = {
  good: 'the bundle is good',
  'integrity-only': 'the bundle is complete and unaltered',
  incomplete: 'no fault was found in the bundle',
  failed: 'the bundle is not good',
} as const satisfies Record<Report['verdict'], string>

/**
 * Writes the report of a verification or a push that has failed, and tells where it is, or that it could not be written:
 * what has failed has an error of its own, which comes first.
 * @param reserve takes the names for it.
 */
export async function keepFailureReport(
  report: Report,
  reserve: () => Promise<SignedDocument>,
): Promise<void> {
  try {
    const output = await reserve()
    const { serializeReport } = await import('../../index.ts')
    const digest = await output.write(serializeReport(report))
    log.note(`The report of the verification is in ${output.path} (${digest})`)
  } catch (error) {
    if (!(error instanceof AirgapError)) throw error
    log.warning(`the report of the verification was not written: ${error.message}`)
  }
}
