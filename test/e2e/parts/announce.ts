import { missingParts } from './tools.ts'

/** Says once, before the first test, what this machine lacks. */
export default function announce(): void {
  const missing = missingParts()
  if (missing !== undefined) process.stdout.write(`\n${missing}\n`)
}
