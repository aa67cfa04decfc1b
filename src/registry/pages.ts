import { AirgapError } from '../errors.ts'
import type { Context } from './notices.ts'
import { headerOf, type HttpResponse } from './net/http.ts'

/** No list that we ask for has more pages; a registry that goes on and on is stopped. */
export const MAX_PAGES = 200

/**
 * Where a list goes on (RFC 8288; distribution-spec § Listing Tags), undefined at its end.
 * Only the registry itself may say so: another origin would be given what the next request carries.
 *
 * @throws AirgapError `REGISTRY` for a next page on another origin, or an unreadable one.
 */
export function nextPage(response: HttpResponse, context: Context): URL | undefined {
  const header = headerOf(response, 'link')
  const match = /<([^>]{0,4096})>\s*;[^,]*\brel="?next"?/i.exec(header ?? '')
  if (!match) return undefined
  const fail = (reason: string): never => {
    throw new AirgapError('REGISTRY', `cannot ${context.operation}: ${context.registry} ${reason}`)
  }
  if (!URL.canParse(match[1] ?? '', response.url)) return fail('names an unreadable next page')
  const next = new URL(match[1] ?? '', response.url)
  if (next.origin !== response.url.origin) {
    return fail(`names a next page on another host (${next.host})`)
  }
  return next
}
