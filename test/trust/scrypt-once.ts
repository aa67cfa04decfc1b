import crypto, { type ScryptOptions } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

const { scryptSync, randomBytes } = crypto
/** How the salts begin that are made here: what is encrypted with them is opened here. */
const CHEAP = Buffer.from('cheap salt')
const CHEAPEST = { N: 2, r: 8, p: 1 }
const derived = new Map<string, Buffer>()

function once(password: Uint8Array, salt: Uint8Array, length: number, options: ScryptOptions): Buffer {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  const name = JSON.stringify([hex(password), hex(salt), length, options])
  const isCheap = CHEAP.equals(salt.subarray(0, CHEAP.length))
  const key = derived.get(name) ?? scryptSync(password, salt, length, isCheap ? CHEAPEST : options)
  derived.set(name, key)
  return Buffer.from(key)
}

/** 32 bytes are a salt. */
function withMark(size: number, ...rest: []): Buffer {
  const bytes = randomBytes(size, ...rest)
  if (size === 32 && rest.length === 0) CHEAP.copy(bytes)
  return bytes
}

/**
 * From here on, this process derives each key from a password and a salt once, and at no cost where it has made the
 * salt: that is slow by design, and hundreds of tests open the same few key files. A process of its own does not open
 * what was encrypted here.
 */
export function deriveKeysOnce(): void {
  if (crypto.scryptSync === (once as typeof scryptSync)) return
  Object.assign(crypto, { scryptSync: once, randomBytes: withMark })
  syncBuiltinESMExports()
}
