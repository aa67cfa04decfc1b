import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** What a token lets its holder do: actions by resource, `repository:NAME` or `registry:catalog`. */
export type Grants = Record<string, string[]>

interface Claims {
  use: 'access' | 'refresh'
  user: string
  grants: Grants
  /** Milliseconds since 1970. */
  expires: number
}

/** Signs claims and reads them back. Nothing is stored, so any number of tokens costs no memory. */
export class TokenIssuer {
  #secret = randomBytes(32)

  issue(claims: Claims): string {
    const payload = Buffer.from(JSON.stringify(claims)).toString('base64url')
    return `${payload}.${this.#sign(payload).toString('base64url')}`
  }

  /** @returns undefined where it is not a token of ours for that use, or no longer good */
  read(token: string, use: Claims['use']): Claims | undefined {
    const [payload = '', signature = ''] = token.split('.')
    const given = Buffer.from(signature, 'base64url')
    const expected = this.#sign(payload)
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Claims
    return claims.use === use && Date.now() < claims.expires ? claims : undefined
  }

  /** Makes every token given out so far worthless. */
  revokeAll(): void {
    this.#secret = randomBytes(32)
  }

  #sign(payload: string): Buffer {
    return createHmac('sha256', this.#secret).update(payload).digest()
  }
}
