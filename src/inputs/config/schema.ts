import * as v from 'valibot'
import { AirgapError } from '../../errors.ts'
import { readableBy, text } from '../../files/yaml-values.ts'
import { parsePattern } from '../../oci/pattern.ts'
import { parsePlatform } from '../../oci/platform.ts'
import { parseReference } from '../../oci/reference.ts'
import { REFERRER_CHOICES } from '../../oci/manifest.ts'
import { parseMirror } from '../../registry/mirrors/rule.ts'
import { kubeadmImages } from '../kubeadm.ts'

/** The version of the config format that this release reads. */
export const CONFIG_VERSION = 1

const listOf = (parse: (text: string) => unknown) =>
  v.array(v.pipe(v.string(), v.minLength(1, 'is empty'), readableBy(parse)))

function parseListName(text: string): void {
  if (text !== '-') return
  throw new AirgapError('INVALID_CONFIG', 'a config cannot read standard input', {
    hint: 'Name it for each run.',
  })
}

/** `all` must be the only item, as for the flag. */
function parseWantedPlatform(text: string): void {
  if (text !== 'all') parsePlatform(text)
}

/**
 * The config file. The checks, the published JSON schema, and the comments that `airgap init` writes come from here, so
 * descriptions are sentences for users, and examples are usable values.
 */
export const ConfigSchema = v.strictObject({
  configVersion: v.pipe(
    v.literal(CONFIG_VERSION),
    v.description('The version of this file format.'),
    v.examples([CONFIG_VERSION]),
  ),
  name: v.optional(
    v.pipe(
      text,
      v.description(
        "The bundle's name, by which its newer versions are recognised. By default that of the bundle that blobs are reused from, else that of the output file without extension and trailing number, version or date.",
      ),
      v.examples(['platform-images']),
    ),
  ),
  bundleVersion: v.optional(
    v.pipe(text, v.description("The bundle's version: free text, only shown."), v.examples(['2026.1'])),
  ),
  images: v.optional(
    v.pipe(
      listOf(parseReference),
      v.description('Image references. (image arguments)'),
      v.examples([['nginx:1.29', 'ghcr.io/example/app:1.0']]),
    ),
  ),
  imagesFrom: v.optional(
    v.pipe(
      listOf(parseListName),
      v.description(
        'Files with one image reference per line; relative paths start from the folder of this file.',
      ),
      v.examples([['images.txt']]),
    ),
  ),
  kubeadm: v.optional(
    v.pipe(
      listOf((text) => kubeadmImages(text)),
      v.description('Kubernetes releases whose images, as pulled by kubeadm, are taken.'),
      v.examples([['v1.36.3']]),
    ),
  ),
  kubeadmRepository: v.optional(
    v.pipe(
      v.string(),
      v.minLength(1, 'is empty'),
      readableBy((text) => parseReference(`${text}/pause:1`)),
      v.description("Registry and path of kubeadm's images, if not those of the release."),
      v.examples(['registry.example/kubernetes']),
    ),
  ),
  exclude: v.optional(
    v.pipe(
      listOf(parsePattern),
      v.description(
        'Leave out the references that match one of these patterns; * matches any characters, and a pattern that begins with * needs quotes.',
      ),
      v.examples([['docker.io/library/busybox', '*-debug']]),
    ),
  ),
  platforms: v.optional(
    v.pipe(
      listOf(parseWantedPlatform),
      v.minLength(1, 'names no platform; remove the key to take all'),
      v.check(
        (platforms) => platforms.length === 1 || !platforms.includes('all'),
        'names "all" and others; remove the key to take all',
      ),
      v.description('Platforms to take, OS/ARCH[/VARIANT]. Without this key, all platforms.'),
      v.examples([['linux/amd64', 'linux/arm64']]),
    ),
  ),
  rewriteDigests: v.optional(
    v.pipe(
      v.boolean(),
      v.description('Take only these platforms also of references with a digest, which changes the digest.'),
      v.examples([true]),
    ),
  ),
  allowMissingPlatform: v.optional(
    v.pipe(
      v.boolean(),
      v.description('If an image lacks a platform, take those that it has.'),
      v.examples([true]),
    ),
  ),
  allowMissingAttestations: v.optional(
    v.pipe(
      v.boolean(),
      v.description(
        "Leave out attestations that an image's index lists but that cannot be fetched, which changes its digest.",
      ),
      v.examples([true]),
    ),
  ),
  referrers: v.optional(
    v.pipe(
      v.picklist(REFERRER_CHOICES),
      v.description(
        'Which referrers of the images to take along: all signatures, attestations and SBOMs, only signatures, or none; all by default.',
      ),
      v.examples(['signatures']),
    ),
  ),
  mirrors: v.optional(
    v.pipe(
      listOf((text) => parseMirror(text)),
      v.description(
        'FROM=TO: read images whose names begin with FROM from TO; several are tried in order, longest FROM first, then the source.',
      ),
      v.examples([['docker.io=mirror.example:5000/hub']]),
    ),
  ),
  resolveFrom: v.optional(
    v.pipe(
      v.picklist(['source', 'mirror']),
      v.description('What may resolve a tag to a digest; source by default.'),
      v.examples(['mirror']),
    ),
  ),
})

/** The content of a config file. */
export type Config = v.InferOutput<typeof ConfigSchema>
export type ConfigKey = keyof Config

export const CONFIG_KEYS = Object.keys(ConfigSchema.entries) as ConfigKey[]

/** The description of a key in the schema. */
export function descriptionOf(key: ConfigKey): string {
  return v.getDescription(unwrapped(key)) ?? ''
}

/** An example value of a key. */
export function exampleOf(key: ConfigKey): unknown {
  return v.getExamples(unwrapped(key))[0]
}

function unwrapped(key: ConfigKey) {
  const entry = ConfigSchema.entries[key]
  return 'wrapped' in entry ? entry.wrapped : entry
}
