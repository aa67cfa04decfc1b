import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ACCESS_CASES } from './access.ts'
import { errorOf, type Case } from './case.ts'
import { CERTIFICATE_CASES } from './certificates.ts'
import { CONTENT_CASES } from './content.ts'
import { NETWORK_CASES, SILENCES } from './network.ts'
import { POLICY_CASES } from './policy.ts'
import { PUSH_CASES } from './pushing.ts'
import { REFERRER_CASES } from './referrers.ts'
import { STATUS_CASES } from './status.ts'
import { TLS_CASES } from './tls.ts'
import { UPSTREAM_CASES } from './upstream.ts'
import { hintOf } from '../../../src/cli/words/hints.ts'

/** The headings of the page that are messages: in backticks, `…` standing for what differs, or for nothing. */
const page = readFileSync(new URL('../../../docs/troubleshooting.md', import.meta.url), 'utf8')
const HEADINGS = new Map([...page.matchAll(/^### `(.+)`$/gm)].map(([, text]) => [text!, patternOf(text!)]))
const met = new Set<string>()

function patternOf(heading: string): RegExp {
  const parts = heading.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(parts.join('.*'))
}

const CASES: Case[] = [
  ...STATUS_CASES,
  ...ACCESS_CASES,
  ...PUSH_CASES,
  ...NETWORK_CASES,
  ...TLS_CASES,
  ...CONTENT_CASES,
  ...REFERRER_CASES,
  ...POLICY_CASES,
  ...UPSTREAM_CASES,
  ...CERTIFICATE_CASES,
]

async function check({ provoke, says, hints }: Case): Promise<void> {
  const error = await errorOf(provoke)
  const { message } = error
  const hint = hintOf(error)
  expect(message).toMatch(says)
  for (const part of hints) expect(hint).toMatch(part)
  expect(`${message} ${hint}`).not.toMatch(/s3cret|[^\P{Cc}\n]|undefined|\[object/u)
  const found = [...HEADINGS].filter(([, pattern]) => pattern.test(message)).map(([heading]) => heading)
  expect(found, `docs/troubleshooting.md has no heading for: ${message}`).not.toEqual([])
  for (const heading of found) met.add(heading)
}

test.each(CASES)('$name: the message says it, and the page has it', check)

test('silences of three kinds, too', async () => {
  await Promise.all(SILENCES.map(check))
})

test('every heading of the page is a message that can be met', () => {
  expect(HEADINGS.size).toBeGreaterThan(40)
  expect([...HEADINGS.keys()].filter((heading) => !met.has(heading))).toEqual([])
})
