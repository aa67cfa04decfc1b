/**
 * The payload of a token that is a JWT (RFC 7519 § 7.2), without checking its signature; undefined for any other token.
 */
export function jwtPayload(token: string): Record<string, unknown> | undefined {
  const payload = token.split('.')[1]
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null ? (claims as Record<string, unknown>) : undefined
  } catch {
    // Most tokens that are not JWTs end here.
    return undefined
  }
}

/**
 * What a token claims to allow (distribution: docs/spec/auth/jwt.md, `access`). Only used to explain a refusal.
 * @returns undefined where it does not say so in a known form.
 */
export function grantsIn(token: string): Grants | undefined {
  const access = jwtPayload(token)?.['access']
  if (!Array.isArray(access)) return undefined
  const grants = new Map<string, readonly string[]>()
  for (const entry of access as ({ type?: unknown; name?: unknown; actions?: unknown } | null)[]) {
    const actions: unknown[] = Array.isArray(entry?.actions) ? entry.actions : []
    grants.set(
      `${String(entry?.type)}:${String(entry?.name)}`,
      actions.filter((action) => typeof action === 'string'),
    )
  }
  return grants
}

/** A scope of token authentication, `repository:NAME:pull,push`: its resource, and its actions. */
export function splitScope(scope: string): [resource: string, actions: string[]] {
  const colon = scope.lastIndexOf(':')
  return [scope.slice(0, Math.max(colon, 0)), scope.slice(colon + 1).split(',')]
}

/** The actions needed in a repository. */
export type Actions = 'pull' | 'pull,push'

export function scopeOf(repository: string, actions: Actions): string {
  return `repository:${repository}:${actions}`
}

const MOST_MERGED = 8

/** Our scopes, followed by those of the challenge that they do not include. */
export function mergeScopes(ours: readonly string[], asked: string | undefined): string[] {
  const merged = [...ours]
  for (const scope of (asked ?? '').split(/ +/).filter(Boolean)) {
    if (!takeIn(grantsOf(merged), [scope])) merged.push(scope)
  }
  return merged.slice(0, Math.max(MOST_MERGED, ours.length))
}

/** Actions by resource. */
export type Grants = ReadonlyMap<string, readonly string[]>

export function grantsOf(scopes: readonly string[]): Grants {
  const grants = new Map<string, string[]>()
  for (const scope of scopes) {
    const [resource, actions] = splitScope(scope)
    grants.set(resource, [...(grants.get(resource) ?? []), ...actions])
  }
  return grants
}

/** Whether grants include everything that scopes ask for. */
export function takeIn(grants: Grants, scopes: readonly string[]): boolean {
  return scopes.every((scope) => {
    const [resource, actions] = splitScope(scope)
    const held = grants.get(resource)
    return held !== undefined && actions.every((action) => held.includes(action))
  })
}
