import type { Authentication } from './authenticate.ts'

/**
 * Who answers for the bundle, as documents have it. By itself, since showing a bundle needs nothing else of what checks
 * or pushes it.
 */
export function authenticationOf(
  authentication: Authentication,
): { state: 'signed'; keyFingerprint: string } | { state: 'not-checked' } {
  return authentication.state === 'signed'
    ? { state: 'signed', keyFingerprint: authentication.key.fingerprint }
    : { state: 'not-checked' }
}
