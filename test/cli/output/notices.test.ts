import { expect, test } from 'vitest'
import { noticeLine } from '../../../src/cli/output/notices.ts'
import { heldText } from '../../../src/cli/output/progress.ts'
import type { RegistryNotice } from '../../../src/registry/notices.ts'

const now = new Date(2026, 10, 21, 14, 2, 28).getTime()
const text = (notice: RegistryNotice): string => noticeLine(notice, now).text

test('a hold says how long, and until when', () => {
  const held = { type: 'held', registry: 'registry.example', status: 429 } as const
  const reason = 'registry.example is busy (429 Too Many Requests)'
  expect(text({ ...held, reason, delayMs: 42_000, until: now + 42_000 })).toBe(
    'registry.example is busy (429 Too Many Requests); waiting 42 s, until 14:03:10',
  )
  expect(text({ ...held, reason, delayMs: 20, until: now + 20 })).toBe(`${reason}; retrying at once`)
})

test('a low quota says of what, for whom, and what to do', () => {
  const quota = { type: 'quota', registry: 'docker.io', remaining: 7, limit: 100 } as const
  expect(text({ ...quota, windowSeconds: 21_600, source: '192.0.2.7' })).toBe(
    'Warning: docker.io: 7 of 100 pulls are left (in 6 h, counted for 192.0.2.7). Wait, log in for a higher limit (airgap login docker.io), or use a mirror (--mirror docker.io=HOST).',
  )
  expect(text({ ...quota, limit: undefined, windowSeconds: undefined, source: undefined })).toContain(
    'docker.io: 7 pulls are left. Wait',
  )
})

test('one that is out of reach, and one that gets less', () => {
  expect(
    text({ type: 'unavailable', registry: 'm.example', reason: 'm.example: nothing listens \u001b[2Jthere' }),
  ).toMatch(/^Warning: m\.example: nothing listens .*there; it is skipped for now and retried later$/)
  expect(text({ type: 'slower', registry: 'r.example', transfers: 1, before: 2 })).toBe(
    'r.example is limited to 1 transfer at a time for now, instead of 2',
  )
})

test('the live line counts down, on one line', () => {
  const snapshot = {
    phase: 'fetch' as const,
    images: { done: 12, total: 500 },
    blobs: { done: 30, total: 1200 },
    bytes: { done: 1_200_000_000, total: 30_000_000_000 },
    bytesPerSecond: 0,
    secondsLeft: undefined,
  }
  expect(heldText(snapshot, 'registry.example', 41_400, 120)).toBe(
    'Waiting 41 s for registry.example  Fetching  12/500 images  1.2 GB of 30 GB  0 B/s',
  )
  for (let columns = 0; columns < 120; columns++) {
    expect(heldText(snapshot, 'registry.example', 41_400, columns).length).toBeLessThanOrEqual(columns)
  }
  expect(heldText(undefined, 'r', 1000, 76)).toBe('Waiting 1 s for r')
})
