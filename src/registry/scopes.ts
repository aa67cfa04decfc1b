/** A scope of token authentication, `repository:NAME:pull,push`: what it is for, and which actions. */
export function splitScope(scope: string): [resource: string, actions: string[]] {
  const colon = scope.lastIndexOf(':')
  return [scope.slice(0, Math.max(colon, 0)), scope.slice(colon + 1).split(',')]
}

/** What is done in a repository. */
export type Actions = 'pull' | 'pull,push'

export function scopeOf(repository: string, actions: Actions): string {
  return `repository:${repository}:${actions}`
}

const MOST_MERGED = 8

/** Our scopes, and behind them those of the challenge that they do not take in. */
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

/** Whether grants hold everything that scopes ask for. */
export function takeIn(grants: Grants, scopes: readonly string[]): boolean {
  return scopes.every((scope) => {
    const [resource, actions] = splitScope(scope)
    const held = grants.get(resource)
    return held !== undefined && actions.every((action) => held.includes(action))
  })
}
