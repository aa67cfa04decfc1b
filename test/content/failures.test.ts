import { expect, test } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import { allFailed, groupAlike, type ImageFailure } from '../../src/content/failures.ts'

const digest = (n: number): string => `sha256:${String(n).padStart(64, '0')}`
const target = 'r.example/m/team/app'

function failures(reason: (n: number) => string): ImageFailure[] {
  return Array.from({ length: 9 }, (_, i) => ({
    source: 's.example/team/app:1',
    part: `blob ${i}`,
    error: new AirgapError('REGISTRY', reason(i), {
      doing: `upload the blob ${digest(i)} to ${target}`,
      subject: target,
      origin: { host: 'r.example', registry: 'r.example', status: 500, isOfHost: false },
    }),
  }))
}

test('parts that fail by the same answer of a host are one problem, with a few of them named', () => {
  const session = (n: number): string => `a09038f2-f157-4668-a9a5-07155590b1${n}0`
  const all = failures((n) => `no space left: write /${session(n)}/data`)
  const { problems } = allFailed(groupAlike(all), 'nothing')
  // A single kind of failure is the error itself.
  expect(problems).toEqual([])
  const other: ImageFailure = { ...all[0]!, source: 's.example/team/other:1' }
  const error = allFailed(groupAlike([...all, other]), 'nothing')
  expect(error.problems.map(({ message }) => message.split(': no space')[0])).toEqual([
    `blob 0, blob 1, blob 2, blob 3, blob 4 and 4 more: ${target}`,
    `blob 0: ${target}`,
  ])
})

test('parts that fail by another answer, or without a host by another reason, stay apart', () => {
  const [first, second] = failures(() => 'no space left')
  const error = second!.error.with({ origin: { ...second!.error.origin!, status: 403 } })
  expect(groupAlike([first!, { ...second!, error }])).toHaveLength(2)
  const local = (reason: string): ImageFailure => ({
    source: 'a',
    part: reason,
    error: new AirgapError('NETWORK', reason),
  })
  expect(groupAlike([local('one'), local('two')])).toHaveLength(2)
})

test('a problem names its image once, and another place by its own name', () => {
  const messageOf = (source: string, subject: string, part?: string): string | undefined => {
    const doing = `fetch something of ${subject}`
    const error = new AirgapError('NOT_FOUND', 'gone', { doing, subject })
    const one: ImageFailure = { source, error, ...(part === undefined ? {} : { part }) }
    return allFailed([one, one], 'all').problems[0]?.message
  }
  const image = 'r.example:5000/team/app:1.0'
  expect(messageOf(image, image)).toBe('gone')
  const pinned = `r.example:5000/team/app@${digest(1)}`
  expect(messageOf(pinned, pinned)).toBe('gone')
  // By another digest it may be one platform of it that is gone.
  expect(messageOf(image, pinned)).toBe(`${pinned}: gone`)
  expect(messageOf(image, 'r.example:5000/team/app', 'blob 1')).toBe('blob 1: gone')
  expect(messageOf(image, 'mirror.example/team/app:1.0')).toBe('mirror.example/team/app:1.0: gone')
  const longer = 'r.example:5000/team/application:1.0'
  expect(messageOf(image, longer)).toBe(`${longer}: gone`)
})

test('where hints differ, each says which images it is for', () => {
  const one = (name: string, hint?: string): ImageFailure => ({
    source: name,
    error: new AirgapError('NOT_FOUND', 'gone', { hint }),
  })
  expect(allFailed([one('a', 'Look.'), one('b', 'Look.')], 'all').hint).toBe('Look.')
  expect(allFailed([one('a', 'Look.'), one('b', 'Wait.'), one('c', 'Look.')], 'all').hint).toBe(
    'a and 1 more: Look.\nb: Wait.',
  )
  expect(allFailed([one('a', 'Look.'), one('b')], 'all').hint).toBe('a: Look.')
})
