import { expect, test } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import { allFailed, groupAlike, type ImageFailure } from '../../src/content/failures.ts'

const digest = (n: number): string => `sha256:${String(n).padStart(64, '0')}`
const target = 'r.example/m/team/app'

function failures(message: (n: number) => string, hint?: string): ImageFailure[] {
  return Array.from({ length: 9 }, (_, i) => ({
    source: 's.example/team/app:1',
    part: `blob ${i}`,
    error: new AirgapError('REGISTRY', message(i), { hint }),
  }))
}

test('parts that fail alike but for digests, sessions and moments are one problem, with a few of them named', () => {
  const session = (n: number): string => `a09038f2-f157-4668-a9a5-07155590b1${n}0`
  const all = failures(
    (n) =>
      `cannot upload the blob ${digest(n)} to ${target}: no space left: write /${session(n)}/data; it was given up at 08:51:1${n}`,
  )
  const { problems } = allFailed(groupAlike(all), 'nothing')
  // A single kind of failure is the error itself.
  expect(problems).toEqual([])
  const other: ImageFailure = { ...all[0]!, source: 's.example/team/other:1' }
  const error = allFailed(groupAlike([...all, other]), 'nothing')
  expect(error.problems.map(({ message }) => message.split(': no space')[0])).toEqual([
    `blob 0, blob 1, blob 2, blob 3, blob 4 and 4 more: cannot upload to ${target}`,
    `blob 0: cannot upload to ${target}`,
  ])
})

test('a problem names its image once, and another place by its own name', () => {
  const messageOf = (source: string, message: string, part?: string): string | undefined => {
    const error = new AirgapError('NOT_FOUND', message)
    const one: ImageFailure = { source, error, ...(part === undefined ? {} : { part }) }
    return allFailed([one, one], 'all').problems[0]?.message
  }
  const image = 'r.example:5000/team/app:1.0'
  expect(messageOf(image, `cannot fetch the manifest ${image}: not there`)).toBe('not there')
  const pinned = `r.example:5000/team/app@${digest(1)}`
  expect(messageOf(pinned, `cannot fetch the manifest ${pinned}: gone`)).toBe('gone')
  // By another digest it may be one platform of it that is gone.
  const part = `cannot fetch the manifest ${pinned}: gone`
  expect(messageOf(image, part)).toBe(part)
  expect(
    messageOf(image, `cannot fetch the blob ${digest(1)} of r.example:5000/team/app: gone`, 'blob 1'),
  ).toBe('blob 1: gone')
  const elsewhere = 'cannot fetch the manifest mirror.example/team/app:1.0: not there'
  expect(messageOf(image, elsewhere)).toBe(elsewhere)
  const longer = 'cannot fetch the manifest r.example:5000/team/application:1.0: not there'
  expect(messageOf(image, longer)).toBe(longer)
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
