/**
 * Forms of possible secrets in text from others: the user part and the query of URLs, upload states and signatures
 * anywhere, Authorization headers, and signed tokens. Our own sentences contain none of these, but error bodies of
 * registries, proxies and storage may, and so may what a user typed. Replacing is idempotent.
 */
const FORMS: readonly (readonly [RegExp, string])[] = [
  [/\b((?:https?|wss?|ftps?|socks[45]?[ah]?):\/\/)(?!USER:PASSWORD@)[^\s/?#"'<>]*@/gi, '$1…@'],
  [/\b([a-z][a-z0-9+.-]{0,30}:\/\/)(?!USER:PASSWORD@|…@)[^\s/?#"'<>]+@(?!sha\d+:)/gi, '$1…@'],
  // Without a scheme, at the beginning of a word; `name:tag@algorithm:hex` is not a login.
  [/(?<![\w/@.:%$+~-])[\w.%$+~-]+:[^\s/?#"'<>@]+@(?!\w+:(?:[0-9a-f]{6}|\W|$))(?=[\w-]*[.:/])/gi, '…@'],
  [/\b((?:https?|wss?|ftps?):\/\/[^\s?#"'<>]{1,2000})[?#][^\s"'<>]*/gi, '$1?…'],
  [
    /([?&;](?:amp;)?(?:_state|x-[a-z0-9]+-[a-z0-9-]+|x-signature|sig|signature|token|access_token)=)[^\s&"'<>]+/gi,
    '$1…',
  ],
  // Base64 of some length has more than lower-case letters; ordinary words after "Basic" or "Bearer" do not.
  [/\b(Basic|Bearer) +(?=[a-z]*[A-Z0-9+/=._~-])[A-Za-z0-9+/=._~-]{8,}/g, '$1 …'],
  [/\beyJ[\w-]{8,1000}\.[\w-]{8,}(?:\.[\w-]*)?/g, '…'],
]

/** The text with possible secrets replaced. */
export function redacted(text: string): string {
  let result = text
  for (const [form, instead] of FORMS) result = result.replace(form, instead)
  return result
}

/** Shorter values occur in texts by chance. */
const SHORTEST_SECRET = 4

/**
 * The text without these values, in all forms in which others may write them: as they are, in JSON, in a URL, in
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
  // The longest first, so that replacing one leaves no part of another.
  for (const form of forms.toSorted((a, b) => b.length - a.length)) {
    if (form.length >= SHORTEST_SECRET) result = result.replaceAll(form, '…')
  }
  return result
}

/** The secrets in the value of an Authorization header: what follows the scheme, and the password in it. */
export function secretsIn(authorization: string): string[] {
  const [scheme, value] = authorization.split(/ +(.*)/s)
  if (value === undefined) return [authorization]
  if (scheme?.toLowerCase() !== 'basic') return [value]
  const login = Buffer.from(value, 'base64').toString()
  return [value, login, login.slice(login.indexOf(':') + 1)]
}

/**
 * Characters that could move the cursor, change colours, hide text, change its direction, or be invisible: controls,
 * formats, surrogates, private and unassigned characters, every blank except the space, and characters that fonts show
 * as nothing (Unicode's Default_Ignorable_Code_Point, such as the Hangul fillers). The code points at the end are
 * invisible too, but no property says so: the Braille blank, two hieroglyphs, Khitan's filler, the null notehead.
 * Newline and tab are not included.
 */
const HARMFUL =
  /[[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{13441}\u{13442}\u{16fe4}\u{1d159}]--[ \n\t]]/gv

/** Text from outside (names, annotations, registries' answers) with every harmful character escaped. */
export function escapeForeign(text: string): string {
  return text.replaceAll(HARMFUL, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

/** The same for text that must stay on one line. */
export function escapeLine(text: string): string {
  return escapeForeign(text).replaceAll('\n', '\\n').replaceAll('\t', ' ')
}

/** JSON with harmful characters as JSON escapes. */
export function harmlessJson(json: string): string {
  return json.replaceAll(HARMFUL, (character) =>
    [...Array(character.length).keys()]
      .map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

const PLAIN = /^[\w./:@%+,-][\w./:@%+,=-]*$/

/**
 * A word of a command to be pasted into a shell, quoted if needed, so that the shell sees exactly this word. Characters
 * that could harm a terminal are written as `$'\xe3\x85\xa4'`, which bash, zsh and newer shells understand.
 */
export function shellWord(text: string): string {
  if (PLAIN.test(text)) return text
  if (escapeLine(text) === text) return `'${text.replaceAll("'", "'\\''")}'`
  const escaped = text.replaceAll(/[^\w./:@%+,=-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  )
  return `$'${escaped}'`
}
