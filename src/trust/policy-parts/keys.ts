import { isAbsolute, join } from 'node:path'
import { parsePublicKey, readPublicKey, type PublicKey } from '../keys.ts'
import type { KeyDocument } from './schema.ts'

/** A path that a policy names, as it leads there from here. */
export function beside(folder: string, file: string): string {
  return isAbsolute(file) ? file : join(folder, file)
}

/**
 * The public key that a policy names, or holds.
 *
 * @param folder the policy's; where relative paths start.
 * @param source what a key is called that the policy holds itself.
 * @throws AirgapError `FILE`, `INVALID_KEY`
 */
export async function readPolicyKey(given: KeyDocument, folder: string, source: string): Promise<PublicKey> {
  const { file, pem }: Exclude<KeyDocument, string> = typeof given === 'string' ? { file: given } : given
  if (file !== undefined) return readPublicKey(beside(folder, file))
  return parsePublicKey(Buffer.from(pem ?? ''), source)
}
