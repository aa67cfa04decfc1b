import type { NetworkOptions, RegistryAccess } from '../../index.ts'
import { AirgapError } from '../../errors.ts'

const SECONDS: Record<string, number> = { '': 1, s: 1, m: 60, h: 3600 }
const MOST_SECONDS = 24 * 3600

const BYTES: Record<string, number> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
}
const LEAST_RATE = 1024
const MOST_RATE = 1e15

/**
 * Parses a time: `30s`, `2m`, `1h`, or plain seconds; fractions are allowed.
 * @returns milliseconds
 * @throws AirgapError `USAGE`
 */
export function parseTimeout(text: string): number {
  const match = /^([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([smh]?)$/.exec(text.trim())
  const seconds = match ? Number(match[1]) * (SECONDS[match[2] ?? ''] ?? Number.NaN) : Number.NaN
  if (seconds >= 1 && seconds <= MOST_SECONDS) return Math.round(seconds * 1000)
  throw new AirgapError('USAGE', `--timeout ${JSON.stringify(text)} is not a time from one second to a day`, {
    hint: 'Write 30s, 2m, 1h, or plain seconds.',
  })
}

/**
 * Parses a rate per second: `10MB`, `500KiB`, `2.5MiB`, or plain bytes; a trailing `/s` is allowed.
 * @returns bytes per second
 * @throws AirgapError `USAGE`
 */
export function parseRate(text: string): number {
  const match = /^([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([a-z]{0,3})(?:\/s)?$/i.exec(text.trim())
  const unit = (match?.[2] ?? '').toUpperCase()
  const factor = Object.hasOwn(BYTES, unit) ? BYTES[unit] : undefined
  const rate = match && factor !== undefined ? Math.round(Number(match[1]) * factor) : Number.NaN
  if (rate >= LEAST_RATE && rate <= MOST_RATE) return rate
  throw new AirgapError(
    'USAGE',
    `--max-rate ${JSON.stringify(text)} is not a rate of at least 1 KiB per second`,
    {
      hint: 'Write 10MB, 500KiB or 2.5MiB, per second, for the whole run. These are bytes: 100 Mbit/s are 12.5MB.',
    },
  )
}

/** The values of `registryFlags`. */
export interface RegistryFlagValues {
  'plain-http'?: string[] | undefined
  'ca-file'?: string | undefined
  'insecure-skip-tls-verify'?: string[] | undefined
  'auth-file'?: string | undefined
  'allow-token-realm'?: string[] | undefined
  retries?: number | undefined
  timeout?: string | undefined
  'max-rate'?: string | undefined
}

/**
 * Retries, timeout and rate, from the flags.
 * @throws AirgapError `USAGE`
 */
export function pressureOptions(
  flags: RegistryFlagValues,
): Pick<NetworkOptions, 'retries' | 'timeout' | 'maxRate'> {
  return {
    retries: flags.retries,
    timeout: flags.timeout === undefined ? undefined : parseTimeout(flags.timeout),
    maxRate: flags['max-rate'] === undefined ? undefined : parseRate(flags['max-rate']),
  }
}

/** How to reach registries, from the flags. */
export function registryOptions(flags: RegistryFlagValues): RegistryAccess {
  return {
    plainHttp: flags['plain-http'] ?? [],
    insecureSkipTlsVerify: flags['insecure-skip-tls-verify'] ?? [],
    allowTokenRealm: flags['allow-token-realm'] ?? [],
    caFile: flags['ca-file'],
    authFile: flags['auth-file'],
  }
}
