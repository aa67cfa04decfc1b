import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import { parsePublicKey, readPrivateKey, type PublicKey, type SigningKey } from '../../src/trust/keys.ts'

const FIXTURES = new URL('../../fixtures/trust/', import.meta.url)

export function fixturePath(name: string): string {
  return new URL(name, FIXTURES).pathname
}

export async function fixture(name: string): Promise<Buffer> {
  return await readFile(fixturePath(name))
}

/** A fresh folder that is gone after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'airgap-trust-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Writes `contents` to a fresh file (mode 0600) and names it. */
export async function temporaryFile(
  contents: string | Uint8Array,
  name = 'key.pem',
  mode = 0o600,
): Promise<string> {
  const path = join(await temporaryFolder(), name)
  await writeFile(path, contents, { mode })
  return path
}

export const noPassword = (): Promise<string | undefined> => {
  throw new Error('asked for a password that is not needed')
}

export interface TestKey {
  publicKey: PublicKey
  privateKey: KeyObject
  signing: SigningKey
}

/** A key that needs no password, and so no time. */
export async function testKey(source = 'test.pub'): Promise<TestKey> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'pem' })
  const folder = await mkdtemp(join(tmpdir(), 'airgap-trust-'))
  const file = join(folder, 'key.pem')
  await writeFile(file, pkcs8, { mode: 0o600 })
  const signing = await readPrivateKey(file, noPassword)
  await rm(folder, { recursive: true })
  return { publicKey: parsePublicKey(Buffer.from(spki), source), privateKey, signing }
}

/** The AirgapError that `run` ends in. */
export async function errorOf(run: () => unknown): Promise<AirgapError> {
  let thrown: unknown
  try {
    await run()
  } catch (error) {
    thrown = error
  }
  expect(thrown).toBeInstanceOf(AirgapError)
  return thrown as AirgapError
}
