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

/**
 * Characters that could move the cursor, change colours, hide text, turn its direction or pass for nothing at all:
 * controls, formats, surrogates, private and unassigned characters, every blank but the ordinary one, and what fonts are
 * told to show as nothing (Unicode's Default_Ignorable_Code_Point, the Hangul fillers among them). Those behind it show
 * nothing either, and no property says so: the Braille blank, two hieroglyphs, Khitan's filler, the null notehead. Newline
 * and tab are not among them.
 */
const HARMFUL =
  /[[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{13441}\u{13442}\u{16fe4}\u{1d159}]--[ \n\t]]/gv

/** Text that comes from outside (names, annotations, registries' answers), with every harmful character escaped. */
export function escapeForeign(text: string): string {
  return text.replaceAll(HARMFUL, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

/** For text that has to stay on one line. */
export function escapeLine(text: string): string {
  return escapeForeign(text).replaceAll('\n', '\\n').replaceAll('\t', ' ')
}

/** JSON, with harmful characters written as its own escapes. */
export function harmlessJson(json: string): string {
  return json.replaceAll(HARMFUL, (character) =>
    [...Array(character.length).keys()]
      .map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

const PLAIN = /^[\w./:@%+,-][\w./:@%+,=-]*$/

/**
 * A word of a command that is printed to be pasted into a shell, which must see this very word and nothing more: quoted
 * where it has to be. Nothing is left in it that a terminal would have to be spared; such characters, which only bash, zsh
 * and newer shells can read from escapes, are written as `$'\xe3\x85\xa4'`.
 */
export function shellWord(text: string): string {
  if (PLAIN.test(text)) return text
  if (escapeLine(text) === text) return `'${text.replaceAll("'", "'\\''")}'`
  const escaped = text.replaceAll(/[^\w./:@%+,=-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  )
  return `$'${escaped}'`
}
