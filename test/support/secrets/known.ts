/**
 * The secrets that are in use in this process, and the search for them. They are noted where they go by: in requests
 * that servers of the tests receive (setup.ts), and in what commands are started with (of-run.ts).
 */
const known = new Map<string, string>()

/** Shorter values, and such that could be words of a sentence, are looked for only as part of a login. */
const SHORTEST = 6

/** From now on, this value is looked for. */
export function noteSecret(value: string, name: string): void {
  if (value.length >= SHORTEST && !/^[a-z ]+$/i.test(value)) known.set(value, name)
}

/** From now on, this user's password is looked for, also as the header has it. */
export function noteLogin(username: string, password: string): void {
  noteSecret(password, `the password of ${username}`)
  const login = Buffer.from(`${username}:${password}`)
  if (login.length >= 5) {
    noteSecret(login.toString('base64'), `the login of ${username}`)
    noteSecret(login.toString(), `the login of ${username}`)
  }
}

/** From now on, what an Authorization header holds is looked for. */
export function noteAuthorization(header: string): void {
  const [, scheme = '', value = ''] = /^(\S+)\s+(.*)$/s.exec(header) ?? []
  if (scheme.toLowerCase() !== 'basic') return noteSecret(value, `a ${scheme} token`)
  const [username = '', ...rest] = Buffer.from(value, 'base64').toString().split(':')
  noteLogin(username, rest.join(':'))
}

export function forgetSecrets(): void {
  known.clear()
  formCache.clear()
}

/** What no output may hold, whoever has written it. */
const FORMS: readonly (readonly [string, RegExp])[] = [
  ['an Authorization header', /authorization["']?\s*[:=]\s*["']?(?:basic|bearer)\s+(?!…)/i],
  ['a Bearer token', /\bBearer\s+(?=[a-z-]*[A-Z0-9._~+/=])[\w.~+/=-]{16,}/],
  ['a Basic login', /\bBasic\s+(?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9+/]{8,}={0,2}/],
  ['a signed token', /\beyJ[\w-]{8,}\.[\w-]{8,}/],
  ['a private key', /-----BEGIN (?!ENCRYPTED)[A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{16}/],
  ['an encrypted private key', /-----BEGIN ENCRYPTED [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{16}/],
  ['the user part of a URL', /\b[a-z][a-z0-9+.-]*:\/\/(?!…@|USER:PASSWORD@)[^\s/?#"'<>@]+@(?!sha\d+:)/i],
  [
    'a signed query',
    /[?&;](?:amp;)?(?:_state|X-Signature|X-Amz-\w+|X-Goog-\w+|sig|signature|token|access_token)=(?!…)[^\s&"']/i,
  ],
]

export interface Leak {
  /** Which secret, in words. */
  what: string
  /** How it was written. */
  as: string
}

/** The ways in which a value may be written. Base64 of a longer text shows as one of three rows of letters. */
function formsOf(value: string): [as: string, text: string][] {
  const bytes = Buffer.from(value)
  const inBase64 = (encoding: 'base64' | 'base64url'): string[] =>
    [0, 1, 2].map((before) => {
      const text = Buffer.concat([Buffer.alloc(before), bytes])
        .toString(encoding)
        .replaceAll('=', '')
      // What the bytes around would change is left off at both ends.
      const from = before === 0 ? 0 : before + 1
      return text.slice(from, (before + bytes.length) % 3 === 0 ? undefined : -1)
    })
  return [
    ['plain', value],
    ['JSON', JSON.stringify(value).slice(1, -1)],
    ['percent-encoded', encodeURIComponent(value)],
    ['hex', bytes.toString('hex')],
    ...inBase64('base64').map((text): [string, string] => ['base64', text]),
    ...inBase64('base64url').map((text): [string, string] => ['base64url', text]),
  ]
}

const formCache = new Map<string, [as: string, text: string][]>()

/**
 * What a text shows that it must not.
 * @param allowed forms that are meant to be there, by their name.
 */
export function leaksIn(text: string, allowed: readonly string[] = []): Leak[] {
  const leaks: Leak[] = []
  for (const [value, what] of known) {
    let forms = formCache.get(value)
    if (!forms) formCache.set(value, (forms = formsOf(value)))
    const found = forms.find(([, form]) => form.length >= SHORTEST && text.includes(form))
    if (found) leaks.push({ what, as: found[0] })
  }
  for (const [what, form] of FORMS) {
    if (!allowed.includes(what) && form.test(text)) leaks.push({ what, as: 'form' })
  }
  return leaks
}

/** Fails the test when a text shows a secret. The message does not show it again. */
export function expectNoSecrets(text: string, where: string, allowed?: readonly string[]): void {
  const leaks = leaksIn(text, allowed)
  if (leaks.length === 0) return
  const list = leaks.map(({ what, as }) => `${what} (${as})`).join(', ')
  throw new Error(`a secret shows in ${where}: ${list}`)
}
