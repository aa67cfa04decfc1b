import { digestOf } from '../../../src/oci/digest.ts'
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { parsePublicKey, type PublicKey } from '../../../src/trust/keys.ts'
import type { Policy } from '../../../src/trust/policy/policy.ts'
import { parsePolicy } from '../../../src/trust/policy/read.ts'
import type { VerifiedSignature } from '../../../src/trust/verified.ts'

/** A key pair of somebody's. */
export interface Pair {
  pem: string
  publicKey: PublicKey
  /** ECDSA with SHA-256, in DER. */
  sign(bytes: Uint8Array): Buffer
  privateKey: KeyObject
}

export function pair(source = 'somebody.pub'): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  return {
    pem,
    publicKey: parsePublicKey(Buffer.from(pem), source),
    sign: (bytes) => sign('sha256', bytes, privateKey),
    privateKey,
  }
}

export const HEAD = 'type: dev.airgap.policy\nformatVersion: "1.0"\n'

/** A policy out of JSON, which is YAML, too. */
export async function policyOf(document: object): Promise<Policy> {
  const text = JSON.stringify({ type: 'dev.airgap.policy', formatVersion: '1.0', ...document })
  return parsePolicy(Buffer.from(text), 'policy.yaml')
}

/** A folder with a policy and what lies beside it. */
export async function policyFolder(files: Record<string, string | Uint8Array>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'airgap-policy-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  return folder
}

export function byKey({ publicKey }: Pair, name = 'a.sig'): VerifiedSignature {
  return { name, form: 'raw', by: { kind: 'key', key: publicKey } }
}

export function byIdentity(
  identity: string,
  issuer = 'https://issuer.example',
  times: readonly number[] = [Date.parse('2026-03-01T00:00:00Z')],
): VerifiedSignature {
  const root = { source: 'trusted_root.json', digest: digestOf('root') }
  return {
    name: `${identity}.sigstore.json`,
    form: 'sigstore-bundle',
    by: { kind: 'identity', identity, issuer, times, logEntries: [], root },
  }
}
