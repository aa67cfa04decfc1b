import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parsePlatforms } from '../../src/oci/platform.ts'
import { formatPlatform, matchesPlatform, parsePlatform } from '../../src/oci/platform.ts'

describe('platforms', () => {
  it.each([
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v2', 'linux/amd64/v2'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/7', 'linux/arm/v7'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux/i386', 'linux/386'],
    ['Linux/AMD64', 'linux/amd64'],
    ['windows(10.0.20348.2031)/amd64', 'windows(10.0.20348.2031)/amd64'],
  ])('%s is %s', (text, normal) => {
    expect(formatPlatform(parsePlatform(text))).toBe(normal)
  })

  it.each([
    '',
    'linux',
    'linux/',
    '/amd64',
    'linux/amd64/v2/x',
    'linux amd64',
    'linux/amd64:1',
    'win()/amd64',
  ])('refuses %j and shows the form', (text) => {
    expect(() => parsePlatform(text)).toThrow('is not a platform')
  })

  it.each([
    ['linux/arm64', 'linux/arm64/v8', true],
    ['linux/arm64/v8', 'linux/arm64', true],
    ['linux/arm', 'linux/arm/v7', true],
    ['linux/arm', 'linux/arm/v6', false],
    ['linux/amd64', 'linux/amd64/v2', false],
    ['linux/amd64/v2', 'linux/amd64', false],
    ['linux/amd64', 'windows/amd64', false],
    ['windows/amd64', 'windows(10.0.17763.1)/amd64', true],
    ['windows(10.0.17763)/amd64', 'windows(10.0.17763.1)/amd64', true],
    ['windows(10.0.1776)/amd64', 'windows(10.0.17763.1)/amd64', false],
    ['windows(10.0.20348)/amd64', 'windows(10.0.17763.1)/amd64', false],
    ['windows(10.0.20348)/amd64', 'windows/amd64', false],
  ])('%s wanted, %s there: %s', (wanted, actual, expected) => {
    expect(matchesPlatform(parsePlatform(wanted), parsePlatform(actual))).toBe(expected)
  })

  it('what is printed is read back to the same', () => {
    const word = fc.stringMatching(/^[a-z0-9]{1,8}$/)
    fc.assert(
      fc.property(word, word, fc.option(word, { nil: undefined }), (os, architecture, variant) => {
        const text = formatPlatform({ os, architecture, variant })
        expect(formatPlatform(parsePlatform(text))).toBe(text)
      }),
    )
  })
})

it('a platform that is asked for twice, in whatever spelling, is asked for once', () => {
  const asked = parsePlatforms([
    'linux/arm64',
    'linux/amd64',
    'linux/aarch64',
    'linux/arm64/v8',
    'linux/amd64',
  ])
  expect(asked).toEqual([
    { os: 'linux', architecture: 'arm64' },
    { os: 'linux', architecture: 'amd64' },
  ])
})
