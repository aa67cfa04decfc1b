/**
 * What others wrote into a text that may be secret, by its form: the user part and the query of URLs, upload states and
 * signatures wherever they stand, Authorization headers, and signed tokens. Sentences of our own hold none of these;
 * error bodies of registries, proxies and storage, and what a user has typed, may. Doing it twice changes nothing more.
 */
const FORMS: readonly (readonly [RegExp, string])[] = [
  [/\b((?:https?|wss?|ftps?|socks[45]?[ah]?):\/\/)(?!USER:PASSWORD@)[^\s/?#"'<>]*@/gi, '$1…@'],
  [/\b([a-z][a-z0-9+.-]{0,30}:\/\/)(?!USER:PASSWORD@|…@)[^\s/?#"'<>]+@(?!sha\d+:)/gi, '$1…@'],
  // Without a scheme, at the beginning of a word; `name:tag@algorithm:hex` is no login.
  [/(?<![\w/@.:%$+~-])[\w.%$+~-]+:[^\s/?#"'<>@]+@(?!\w+:(?:[0-9a-f]{6}|\W|$))(?=[\w-]*[.:/])/gi, '…@'],
  [/\b((?:https?|wss?|ftps?):\/\/[^\s?#"'<>]{1,2000})[?#][^\s"'<>]*/gi, '$1?…'],
  [
    /([?&;](?:amp;)?(?:_state|x-[a-z0-9]+-[a-z0-9-]+|x-signature|sig|signature|token|access_token)=)[^\s&"'<>]+/gi,
    '$1…',
  ],
  // Base64 of any length has more than lower-case letters, words that follow "Basic" or "Bearer" have not.
  [/\b(Basic|Bearer) +(?=[a-z]*[A-Z0-9+/=._~-])[A-Za-z0-9+/=._~-]{8,}/g, '$1 …'],
  [/\beyJ[\w-]{8,1000}\.[\w-]{8,}(?:\.[\w-]*)?/g, '…'],
]

/** A text without what may be secret in it, see above. */
export function redacted(text: string): string {
  let result = text
  for (const [form, instead] of FORMS) result = result.replace(form, instead)
  return result
}

/** Shorter ones occur in texts by chance. */
const SHORTEST_SECRET = 4

/**
 * A text without these values, in the ways in which somebody else may write them: as they are, in JSON, in a URL, in
 * base64.
 */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  let result = text
  const forms = secrets.flatMap((secret) => [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    Buffer.from(secret).toString('base64'),
    Buffer.from(secret).toString('base64url'),
  ])
  // The longest first, so that no part of one is left by another.
  for (const form of forms.toSorted((a, b) => b.length - a.length)) {
    if (form.length >= SHORTEST_SECRET) result = result.replaceAll(form, '…')
  }
  return result
}

/** What is secret in the value of an Authorization header: what stands behind the scheme, and the password in it. */
export function secretsIn(authorization: string): string[] {
  const [scheme, value] = authorization.split(/ +(.*)/s)
  if (value === undefined) return [authorization]
  if (scheme?.toLowerCase() !== 'basic') return [value]
  const login = Buffer.from(value, 'base64').toString()
  return [value, login, login.slice(login.indexOf(':') + 1)]
}
