import * as v from 'valibot'
import { readableBy, text } from '../../files/yaml-values.ts'
import { parsePattern } from '../../oci/pattern.ts'
import {
  described,
  identityEntries,
  identityNamedOnce,
  issuerNamedOnce,
  keyEntries,
  KeyFileSchema,
  keyNamedOnce,
} from '../policy-parts/schema.ts'

export const UPSTREAM_POLICY_TYPE = 'dev.airgap.upstream-policy'
const UPSTREAM_POLICY_VERSION = '1.0'

/** Every image is compared with every rule before the one that is for it. */
const MAX_RULES = 1000
const MAX_SIGNERS = 100
/** What a reason may have in the bundle's description. */
const MAX_REASON_TEXT = 500

const pattern = v.pipe(
  text,
  readableBy(parsePattern, ({ hint = '' }) => `is no pattern. ${hint}`),
)

const KeySchema = v.union([KeyFileSchema, v.pipe(v.strictObject(keyEntries), keyNamedOnce())])

const IdentitySchema = v.pipe(v.strictObject(identityEntries), identityNamedOnce(), issuerNamedOnce())

const listOf = <S extends v.GenericSchema>(item: S) =>
  v.pipe(
    v.array(item),
    v.minLength(1, 'is empty; take the key out'),
    v.maxLength(MAX_SIGNERS, `has more than ${MAX_SIGNERS} items`),
  )

const RuleSchema = v.pipe(
  v.strictObject({
    pattern: v.pipe(
      pattern,
      v.description(
        'Which images the rule is for, as --include takes it: compared with the whole reference and with the name alone; * stands for any characters, and a pattern that begins with it needs quotes.',
      ),
    ),
    keys: described(listOf(KeySchema), 'Whose signatures count: the holders of these public keys.'),
    identities: described(
      listOf(IdentitySchema),
      'Whose signatures count: those whom a certificate names (keyless). Needs a trusted root.',
    ),
    onFailure: described(
      v.picklist(['fail', 'warn']),
      'What comes of an image without a good signature: fail, which is the default, or warn, which packs it and records that it was not verified.',
    ),
    dockerReference: described(
      text,
      "What the name is compared with that cosign's older signatures hold: ignore, the default, compares nothing; match demands the image's own name; anything else is a pattern for it. Sigstore bundles hold no name, and fit ignore alone.",
    ),
    skip: described(
      v.pipe(text, v.maxLength(MAX_REASON_TEXT, `has more than ${MAX_REASON_TEXT} characters`)),
      'Nothing is looked at, for this reason, which is recorded: for images that are known to be unsigned.',
    ),
  }),
  v.check(
    ({ keys, identities, skip }) => skip !== undefined || keys !== undefined || identities !== undefined,
    'says neither who signs (keys, identities) nor that nobody does (skip: REASON)',
  ),
  v.check(
    ({ skip, keys, identities, onFailure, dockerReference }) =>
      skip === undefined || !(keys ?? identities ?? onFailure ?? dockerReference),
    'has skip, and says besides what is to be verified: keep one of the two',
  ),
)

/**
 * The policy for upstreams' signatures: who has to have signed which images. From here come the checks and the published
 * JSON schema, so descriptions are sentences for users.
 */
export const UpstreamPolicySchema = v.strictObject({
  type: v.pipe(v.literal(UPSTREAM_POLICY_TYPE), v.description('What this file is.')),
  formatVersion: v.pipe(
    v.literal(UPSTREAM_POLICY_VERSION),
    v.description('The version of this file format, as text.'),
  ),
  rules: v.pipe(
    v.array(RuleSchema),
    v.minLength(1, 'is empty'),
    v.maxLength(MAX_RULES, `has more than ${MAX_RULES} rules`),
    v.description(
      'The first rule whose pattern fits an image applies to it, and no other. An image that none fits fails.',
    ),
  ),
})

export type RuleDocument = v.InferOutput<typeof UpstreamPolicySchema>['rules'][number]
