import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { makeSigstore } from '../trust/sigstore.ts'

/** A key of a TUF repository. */
export interface TufKey {
  id: string
  json: object
  privateKey: KeyObject
}

/** A TUF repository on loopback, with one target. What is served can be changed by its path. */
export interface TufRepository {
  url: string
  /** Of the first root, which clients have beforehand. */
  root: Buffer
  files: Map<string, Buffer>
  asked: string[]
}

const DAY = 24 * 3600 * 1000

export function newKey(kind: 'ed25519' | 'ecdsa' = 'ed25519'): TufKey {
  const { publicKey, privateKey } =
    kind === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('hex')
  const json =
    kind === 'ed25519'
      ? { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: raw } }
      : {
          keytype: 'ecdsa',
          scheme: 'ecdsa-sha2-nistp256',
          keyval: { public: publicKey.export({ type: 'spki', format: 'pem' }) },
        }
  return { id: sha256(canonical(json)), json, privateKey }
}

/** Metadata with its signatures. */
export function signed(content: object, keys: readonly TufKey[]): Buffer {
  const bytes = Buffer.from(canonical(content))
  const signatures = keys.map(({ id, privateKey }) => ({
    keyid: id,
    sig: sign(privateKey.asymmetricKeyType === 'ed25519' ? null : 'sha256', bytes, privateKey).toString(
      'hex',
    ),
  }))
  return Buffer.from(JSON.stringify({ signatures, signed: content }))
}

export function rootOf(
  version: number,
  rootKey: TufKey,
  key: TufKey,
  expires = daysFromNow(300),
): Record<string, unknown> {
  const role = ({ id }: TufKey) => ({ keyids: [id], threshold: 1 })
  return {
    _type: 'root',
    spec_version: '1.0.31',
    version,
    expires,
    consistent_snapshot: true,
    keys: { [rootKey.id]: rootKey.json, [key.id]: key.json },
    roles: { root: role(rootKey), timestamp: role(key), snapshot: role(key), targets: role(key) },
  }
}

/** So many days from now, in the form of TUF. */
export function daysFromNow(days: number): string {
  return new Date(Date.now() + days * DAY).toISOString().replace(/\.\d+Z$/, 'Z')
}

export async function startRepository(
  target: Buffer,
  { expires = 7, kind = 'ed25519' }: { expires?: number; kind?: 'ed25519' | 'ecdsa' } = {},
): Promise<TufRepository> {
  const [rootKey, key] = [newKey(kind), newKey(kind)]
  const first = signed(rootOf(1, rootKey, key), [rootKey])
  const targets = signed(
    {
      _type: 'targets',
      spec_version: '1.0.31',
      version: 5,
      expires: daysFromNow(100),
      'x-tuf-on-ci-expiry-period': 190,
      targets: { 'trusted_root.json': { length: target.length, hashes: { sha256: sha256(target) } } },
    },
    [key],
  )
  const snapshot = signed(
    {
      _type: 'snapshot',
      spec_version: '1.0.31',
      version: 5,
      expires: daysFromNow(100),
      meta: { 'targets.json': { version: 5 } },
    },
    [key],
  )
  const timestamp = signed(
    {
      _type: 'timestamp',
      spec_version: '1.0.31',
      version: 9,
      expires: daysFromNow(expires),
      meta: { 'snapshot.json': { version: 5 } },
    },
    [key],
  )
  const files = new Map([
    // A second root, which clients have to go by.
    ['/tuf/2.root.json', signed(rootOf(2, rootKey, key), [rootKey])],
    ['/tuf/timestamp.json', timestamp],
    ['/tuf/5.snapshot.json', snapshot],
    ['/tuf/5.targets.json', targets],
    [`/tuf/targets/${sha256(target)}.trusted_root.json`, target],
  ])
  const asked: string[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.push(path)
    const bytes = files.get(path)
    response.writeHead(bytes ? 200 : 404)
    response.end(bytes)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/tuf`, root: first, files, asked }
}

/** JSON as TUF signs it, for values that need no escapes. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value === 'string') return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${canonical(key)}:${canonical(member)}`)
  return `{${members.join(',')}}`
}

function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** The trusted_root.json of a whole instance, with the certificate authority so named and valid since then. */
export async function trustedRootOf(uri: string, start: string): Promise<Buffer> {
  const root = JSON.parse(String((await makeSigstore()).trustedRoot)) as {
    certificateAuthorities: { uri: string; validFor: { start: string } }[]
  }
  const [authority] = root.certificateAuthorities
  if (authority) Object.assign(authority, { uri, validFor: { start } })
  // In a spelling of its own, which has to be kept.
  return Buffer.from(JSON.stringify(root, undefined, 3))
}
