import type { AirgapError } from '../errors.ts'
import { escapeForeign, escapeLine, styler } from './format.ts'

/** So many problems are printed; `--json` has all of them. */
const MAX_PRINTED = 50

/** The error as people read it: what happened, every single case, and what to do. */
export function formatError(error: AirgapError): string {
  const style = styler(process.stderr)
  const lines = [`${style(['red', 'bold'], 'Error:')} ${escapeForeign(error.message)}`]
  for (const problem of error.problems.slice(0, MAX_PRINTED)) {
    lines.push(`  - ${style('bold', escapeLine(problem.entry))}: ${escapeLine(problem.message)}`)
  }
  const left = error.problems.length - MAX_PRINTED
  if (left > 0) lines.push(`  … and ${left} more; --json lists all`)
  if (error.hint !== undefined) lines.push(escapeForeign(error.hint))
  if (error.code === 'INTERNAL' && error.cause instanceof Error && error.cause.stack) {
    lines.push(escapeForeign(error.cause.stack))
  }
  return lines.join('\n')
}
