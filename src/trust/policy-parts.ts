import * as v from 'valibot'
import { text } from '../files/yaml-values.ts'
import { isAbsolute, join } from 'node:path'
import { parsePublicKey, type PublicKey, readPublicKey } from './keys.ts'

/*
 * What policies for bundles and policies for upstreams' images say alike: keys and identities. From here come the
 * checks and the published JSON schemas, so descriptions are sentences for users.
 */

/** Words for known keys that both policies have, where they are further from them than a slip of the pen. */
export const SHARED_SYNONYMS = [
  ['apiversion', 'type'],
  ['kind', 'type'],
  ['version', 'formatVersion'],
  ['policyversion', 'formatVersion'],
  ['configversion', 'formatVersion'],
  ['path', 'file'],
  ['subject', 'identity'],
  ['subjectregexp', 'identityRegexp'],
] as const

/** A key that may be left out, and what it is for. */
export const described = <S extends v.GenericSchema>(
  schema: S,
  words: string,
): v.OptionalSchema<
  v.SchemaWithPipe<readonly [S, v.DescriptionAction<v.InferOutput<S>, string>]>,
  undefined
> => v.optional(v.pipe(schema, v.description(words)))

const keyFile = 'The file of a public key (PEM), relative to the folder of the policy.'

/** A public key, as the name of its file alone. */
export const KeyFileSchema = v.pipe(text, v.description(keyFile))

/** A public key, as a mapping; {@link keyNamedOnce} goes with it. */
export const keyEntries = {
  file: described(text, keyFile),
  pem: described(
    v.pipe(v.string(), v.maxLength(16_384, 'is no key: it is too long')),
    'The public key itself, PEM.',
  ),
}

interface NamedKey {
  file?: string | undefined
  pem?: string | undefined
}
export type KeyDocument = string | NamedKey

export const keyNamedOnce = <T extends NamedKey>(): v.CheckAction<T, string> =>
  v.check<T, string>(
    ({ file, pem }) => (file === undefined) !== (pem === undefined),
    'has to name its key once: by file, or by pem',
  )

/** Whom certificates name, as a mapping; {@link identityNamedOnce} and {@link issuerNamedOnce} go with it. */
export const identityEntries = {
  identity: described(text, 'Whom the certificate names, exactly.'),
  identityRegexp: described(text, 'The same as a regular expression, which has to fit from first to last.'),
  issuer: described(text, 'Who has vouched for that identity, exactly.'),
  issuerRegexp: described(text, 'The same as a regular expression, which has to fit from first to last.'),
}

interface NamedIdentity {
  identity?: string | undefined
  identityRegexp?: string | undefined
  issuer?: string | undefined
  issuerRegexp?: string | undefined
}

export const identityNamedOnce = <T extends NamedIdentity>(): v.CheckAction<T, string> =>
  v.check<T, string>(
    ({ identity, identityRegexp }) => (identity === undefined) !== (identityRegexp === undefined),
    'has to say whom the certificate names once: by identity, or by identityRegexp',
  )

export const issuerNamedOnce = <T extends NamedIdentity>(): v.CheckAction<T, string> =>
  v.check<T, string>(
    ({ issuer, issuerRegexp }) => (issuer === undefined) !== (issuerRegexp === undefined),
    'has to say who vouches for the identity once: by issuer, or by issuerRegexp',
  )

/** A path that a policy names, as it leads there from here. */
export function beside(folder: string, file: string): string {
  return isAbsolute(file) ? file : join(folder, file)
}

/**
 * The public key that a policy names, or holds.
 *
 * @param folder the policy's; where relative paths start.
 * @param source what a key is called that the policy holds itself.
 * @throws AirgapError `FILE`, `INVALID_KEY`
 */
export async function readPolicyKey(given: KeyDocument, folder: string, source: string): Promise<PublicKey> {
  const { file, pem }: Exclude<KeyDocument, string> = typeof given === 'string' ? { file: given } : given
  if (file !== undefined) return readPublicKey(beside(folder, file))
  return parsePublicKey(Buffer.from(pem ?? ''), source)
}
