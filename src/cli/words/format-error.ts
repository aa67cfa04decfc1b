import { digestOfBlobName } from '../../bundle/names.ts'
import type { AirgapError } from '../../errors.ts'
import { redacted, escapeForeign, escapeLine } from '../../text.ts'
import { styler } from '../output/terminal.ts'
import { fitted } from '../output/wrap.ts'
import { hintOf, worded } from './hints.ts'

/** At most this many problems are printed; `--json` has all of them. */
const MAX_PRINTED = 50

/** The error as text for people: what happened, each case, and what to do. */
export function formatError(error: AirgapError): string {
  const style = styler(process.stderr)
  const fit = (text: string, indent = 0): string => fitted(text, process.stderr, indent)
  // Wrapped before colouring, because colours would count as characters.
  const lines = [
    fit(`Error: ${escapeForeign(error.message)}`).replace('Error:', () => style(['red', 'bold'], 'Error:')),
  ]
  const printed = worded(error).slice(0, MAX_PRINTED)
  for (const [message, group] of Map.groupBy(printed, (problem) => problem.message)) {
    // Of a blob only the digest: with its folder it would not fit on a line.
    const entries = group.map(({ entry }) => escapeLine(digestOfBlobName(entry) ?? entry))
    const [entry = ''] = entries
    if (entries.length === 1) {
      const text = fit(`${entry}: ${escapeLine(message)}`, 4)
      lines.push(`  - ${text.startsWith(entry) ? style('bold', entry) + text.slice(entry.length) : text}`)
    } else {
      lines.push(
        `  - ${fit(`${escapeLine(message)}:`, 4)}`,
        ...entries.map((one) => `      ${style('bold', one)}`),
      )
    }
  }
  const left = error.problems.length - MAX_PRINTED
  if (left > 0) lines.push(`  … and ${left} more; --json lists all`)
  const hint = hintOf(error)
  if (hint !== undefined) lines.push(fit(escapeForeign(hint)))
  if (error.code === 'INTERNAL' && error.cause instanceof Error && error.cause.stack) {
    lines.push(escapeForeign(redacted(error.cause.stack)))
  }
  return lines.join('\n')
}
