import { grantsOf } from './scopes.ts'
import { fetchToken, type Token, type TokenRequest } from './token.ts'
import type { TokenEntry, TokenGroup } from './token-group.ts'

/**
 * Asks for a token, and keeps it with its group while it is under way. What the service refuses together is asked for
 * with less: what is needed, and then that without what would only help. Each refusal costs one request more.
 *
 * @param scopes what is needed, the most needed first.
 * @param asked the same with what others will need.
 */
export function askFor(
  to: Omit<TokenRequest, 'choices'>,
  scopes: readonly string[],
  asked: readonly string[],
  group: TokenGroup,
): TokenEntry {
  const isShared = asked.length > scopes.length
  const own = [scopes, ...(scopes.length > 1 ? [scopes.slice(0, 1)] : [])]
  const narrow = (granted: readonly string[]): void => {
    entry.grants = grantsOf(granted)
    entry.isShared = false
  }
  const fetch = async (): Promise<Token> => {
    const found = await fetchToken({ ...to, choices: isShared ? [asked, ...own] : own })
    if (found.scopes !== asked || !isShared) {
      if (isShared) group.wasUseless()
      narrow(found.scopes)
      return found.token
    }
    if (!group.isTooLong(found.token, asked.length)) return found.token
    const fewer = await fetchToken({ ...to, choices: own })
    narrow(fewer.scopes)
    return fewer.token
  }
  const entry: TokenEntry = {
    grants: grantsOf(asked),
    token: fetch(),
    context: to.context,
    isShared,
    isDropped: false,
    proven: new Set(),
  }
  group.add(entry)
  return entry
}
