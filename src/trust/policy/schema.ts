import * as v from 'valibot'
import { withHint, type AirgapError } from '../../errors.ts'
import { readableBy, text } from '../../files/yaml-values.ts'
import { parsePattern } from '../../oci/pattern.ts'
import { parsePlatform } from '../../oci/platform.ts'
import {
  described,
  identityEntries,
  identityNamedOnce,
  issuerNamedOnce,
  keyEntries,
  KeyFileSchema,
  keyNamedOnce,
} from '../policy-parts.ts'
import { parseRequirement } from './requirement.ts'
import { parseAge, parseMoment } from './times.ts'

export const POLICY_TYPE = 'dev.airgap.policy'
export const POLICY_VERSION = '1.0'

/** Messages of other parsers are complete sentences. */
const wordsOf = (error: AirgapError): string =>
  error.code === 'INVALID_POLICY' ? withHint(error) : `cannot be used: ${withHint(error)}`

/** Maximum number of signers, members or rules: more than anybody has. */
const MOST = 1000
const tooMany = `has more than ${MOST} entries`

const textBy = (parse: (text: string) => unknown) => v.pipe(text, readableBy(parse, wordsOf))

const names = v.pipe(
  v.string(),
  v.regex(
    /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/,
    'cannot be a name here: a name has letters, digits and . _ @ + -, at most 64, and begins with a letter or digit',
  ),
)

const RevokedSchema = v.union([
  v.boolean(),
  v.strictObject({
    date: described(
      textBy((value) => parseMoment(value, 'start')),
      'Since when; only shown.',
    ),
    reason: described(text, 'Why; only shown.'),
  }),
])

const standing = {
  notBefore: described(
    textBy((value) => parseMoment(value, 'start')),
    'From when on signatures count: a date (its beginning, UTC) or a moment. For a key it is compared with the clock at the time of verification, for an identity with the verified times of the signature.',
  ),
  notAfter: described(
    textBy((value) => parseMoment(value, 'end')),
    'Until when signatures count: a date (its end, UTC) or a moment. Compared like notBefore.',
  ),
  revoked: described(
    RevokedSchema,
    'No signature counts any more, regardless of when it was made: true, or a mapping with date and reason.',
  ),
}

const KeySchema = v.union([
  KeyFileSchema,
  v.pipe(v.strictObject({ ...keyEntries, ...standing }), keyNamedOnce()),
])

const IdentitySchema = v.pipe(
  v.strictObject({ ...identityEntries, ...standing }),
  identityNamedOnce(),
  issuerNamedOnce(),
)

const SignerSchema = v.pipe(
  v.strictObject({
    keys: described(
      v.pipe(v.array(KeySchema), v.minLength(1, 'is empty'), v.maxLength(MOST, tooMany)),
      'Public keys of this signer.',
    ),
    identities: described(
      v.pipe(v.array(IdentitySchema), v.minLength(1, 'is empty'), v.maxLength(MOST, tooMany)),
      'Identities in the certificates of this signer, for signing without a key (keyless). Needs a trusted root.',
    ),
    ...standing,
  }),
  v.check(
    ({ keys, identities }) => keys !== undefined || identities !== undefined,
    'has neither keys nor identities, so its signatures could not be recognised',
  ),
)

const requirement = textBy(parseRequirement)
const listOf = <S extends v.GenericSchema>(item: S) =>
  v.pipe(v.array(item), v.minLength(1, 'is empty; remove the key'), v.maxLength(MOST, tooMany))
const oneOrMore = <S extends v.GenericSchema>(item: S) => v.union([item, listOf(item)])

const BundleSchema = v.strictObject({
  name: described(oneOrMore(text), "The bundle's name, or a list of allowed names."),
  minSequence: described(
    v.pipe(v.number(), v.safeInteger('must be a whole number below 2^53'), v.minValue(0, 'is negative')),
    'Lowest sequence that is accepted.',
  ),
  maxAge: described(textBy(parseAge), 'How long ago the bundle may have been created: 12h, 30d, 6w.'),
  requireExpiry: described(v.boolean(), 'true: the bundle must have an expiry date.'),
})

const ImagesSchema = v.strictObject({
  sources: described(
    listOf(textBy(parsePattern)),
    'Every image must match one of these patterns; * matches any characters, and a pattern that begins with * needs quotes.',
  ),
  platforms: described(
    listOf(textBy(parsePlatform)),
    'Images may only be for these platforms: OS/ARCH[/VARIANT].',
  ),
  allowMirrorDigests: described(
    v.boolean(),
    'false: the digest of every image must have been resolved by its source, not by a mirror (resolvedFrom).',
  ),
  allowChangedDigests: described(
    v.boolean(),
    'false: every image must have the same digest as at its source (sourceDigest); taking only some platforms of an index changes it.',
  ),
  allowSkipped: described(v.boolean(), 'false: no requested image may have been left out (skipped).'),
})

/**
 * The policy file: who must have signed a bundle, and what it must be. The checks and the published JSON schema come
 * from here, so descriptions are sentences for users.
 */
export const PolicySchema = v.strictObject({
  type: v.pipe(v.literal(POLICY_TYPE), v.description('The type of this file.')),
  formatVersion: v.pipe(
    v.literal(POLICY_VERSION),
    v.description('The version of this file format, as text.'),
  ),
  trustedRoot: described(
    text,
    "Sigstore's trusted root (trusted_root.json) for checking certificates, relative to the folder of the policy; otherwise one must be given with the policy.",
  ),
  signers: v.pipe(
    v.record(names, SignerSchema),
    v.minEntries(1, 'names nobody'),
    v.maxEntries(MOST, tooMany),
    v.description(
      'The people and systems that may sign, by name. Each counts once, however often it signed.',
    ),
  ),
  groups: described(
    v.record(names, v.pipe(v.array(text), v.minLength(1, 'is empty'), v.maxLength(MOST, tooMany))),
    'Names for groups of signers.',
  ),
  require: described(
    oneOrMore(requirement),
    'Who must have signed: 2 of [alice, bob, carol], all of GROUP, or a name. If there are several rules, all must hold. Without this key, any one signer is enough.',
  ),
  bundle: described(BundleSchema, 'What the bundle must be.'),
  images: described(ImagesSchema, 'What its images must be.'),
})

/** The content of a policy file, as written. */
export type PolicyDocument = v.InferOutput<typeof PolicySchema>
export type SignerDocument = PolicyDocument['signers'][string]
/** The limits of a signer, a key or an identity. */
export type StandingDocument = Pick<SignerDocument, 'notBefore' | 'notAfter' | 'revoked'>
