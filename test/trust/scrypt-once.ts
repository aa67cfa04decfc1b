import crypto, { type ScryptOptions } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

const { scryptSync } = crypto
const derived = new Map<string, Buffer>()

function once(password: Uint8Array, salt: Uint8Array, length: number, options: ScryptOptions): Buffer {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  const name = JSON.stringify([hex(password), hex(salt), length, options])
  const key = derived.get(name) ?? scryptSync(password, salt, length, options)
  derived.set(name, key)
  return Buffer.from(key)
}

/**
 * From here on, this process derives each key from a password and a salt once: that is slow by design, and hundreds of
 * tests open the same few key files.
 */
export function deriveKeysOnce(): void {
  if (crypto.scryptSync === (once as typeof scryptSync)) return
  Object.assign(crypto, { scryptSync: once })
  syncBuiltinESMExports()
}
