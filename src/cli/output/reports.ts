import { AirgapError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Report, ReportedCommand, SigningKey } from '../../index.ts'
import { log } from './log.ts'
import { SignedDocument } from './signed-document.ts'

/** A report's file, as in results. */
export interface ReportFile {
  file: string
  digest: Digest
  /** The key that signed it. */
  keyFingerprint?: string
}

/** The tokens of a command line from oclif's parser, in order. */
type RawTokens = readonly ({ type: 'flag'; flag: string; input: string } | { type: 'arg'; input: string })[]

/**
 * The command line as it was typed.
 * @param known the command's flags, to tell which take a value.
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
 * Reserves the files of a report.
 * @throws AirgapError `USAGE` for standard output; `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `FILE`
 */
export async function reserveReport(path: string, key: SigningKey | undefined): Promise<SignedDocument> {
  if (path === '-') {
    throw new AirgapError('USAGE', '--report - is not possible: a report needs a file', {
      hint: 'For the result on standard output, use --json.',
    })
  }
  return SignedDocument.reserve(path, key)
}

/**
 * Writes the report of a verification that found no fault.
 * @param subject what was done, for an error message.
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
    throw new AirgapError(error.code, `${subject}, but the report was not written: ${error.message}`, {
      hint: error.hints,
      cause: error,
    })
  }
}

const SUBJECTS = {
  good: 'the bundle is good',
  'integrity-only': 'the bundle is complete and unaltered',
  incomplete: 'no fault was found in the bundle',
  failed: 'the bundle is not good',
} as const satisfies Record<Report['verdict'], string>

/**
 * Writes the report of a verification or a push that failed, and notes where it is, or warns that it could not be
 * written. Does not throw then, because the failure itself has an error.
 * @param reserve reserves the report's files.
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
