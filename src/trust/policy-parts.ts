import * as v from 'valibot'
import { text } from '../files/yaml-values.ts'
import { isAbsolute, join } from 'node:path'
import { parsePublicKey, type PublicKey, readPublicKey } from './keys.ts'

/*
 * The parts that policies for bundles and upstream policies have in common: keys and identities. The checks and the
 * published JSON schemas come from here, so descriptions are sentences for users.
 */

/** Other words for keys that both policies have, which are not just misspellings. */
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

/** An optional key, with its description. */
export const described = <S extends v.GenericSchema>(
  schema: S,
  words: string,
): v.OptionalSchema<
  v.SchemaWithPipe<readonly [S, v.DescriptionAction<v.InferOutput<S>, string>]>,
  undefined
> => v.optional(v.pipe(schema, v.description(words)))

const keyFile = 'File of a public key (PEM), relative to the folder of the policy.'

/** A public key, given only by the name of its file. */
export const KeyFileSchema = v.pipe(text, v.description(keyFile))

/** A public key, as a mapping. Use {@link keyNamedOnce} with it. */
export const keyEntries = {
  file: described(text, keyFile),
  pem: described(
    v.pipe(v.string(), v.maxLength(16_384, 'is not a key: it is too long')),
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
    'must give its key once: as file or as pem',
  )

/** An identity, as a mapping. Use {@link identityNamedOnce} and {@link issuerNamedOnce} with it. */
export const identityEntries = {
  identity: described(text, 'The identity that the certificate names, exactly.'),
  identityRegexp: described(text, 'The same as a regular expression, which must match the whole identity.'),
  issuer: described(text, 'The issuer that vouched for that identity, exactly.'),
  issuerRegexp: described(text, 'The same as a regular expression, which must match the whole issuer.'),
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
    'must name the identity once: as identity or as identityRegexp',
  )

export const issuerNamedOnce = <T extends NamedIdentity>(): v.CheckAction<T, string> =>
  v.check<T, string>(
    ({ issuer, issuerRegexp }) => (issuer === undefined) !== (issuerRegexp === undefined),
    'must name the issuer once: as issuer or as issuerRegexp',
  )

/** A path in a policy, resolved from the folder of the policy. */
export function beside(folder: string, file: string): string {
  return isAbsolute(file) ? file : join(folder, file)
}

/**
 * The public key that a policy names or contains.
 *
 * @param folder the folder of the policy, where relative paths start.
 * @param source the name of a key that is in the policy itself, for messages.
 * @throws AirgapError `FILE`, `INVALID_KEY`
 */
export async function readPolicyKey(given: KeyDocument, folder: string, source: string): Promise<PublicKey> {
  const { file, pem }: Exclude<KeyDocument, string> = typeof given === 'string' ? { file: given } : given
  if (file !== undefined) return readPublicKey(beside(folder, file))
  return parsePublicKey(Buffer.from(pem ?? ''), source)
}
