import * as v from 'valibot'
import { ImageEntrySchema } from '../../../bundle/description.ts'
import { described, type Known } from '../../../bundle/fields.ts'
import { bundleFile, openedFields } from './evidence.ts'

const { source, digest, kind } = ImageEntrySchema.entries

const configFile = {
  path: described(v.string(), 'Where it belongs on a node'),
  content: described(v.string(), 'The whole file'),
}

/** The output of `serve --json`, as soon as it listens. */
export const ServeSchema = v.object({
  url: described(v.string(), 'Where it listens, like http://127.0.0.1:5000'),
  advertised: described(v.string(), 'Host and port in the files for nodes'),
  bundles: v.array(
    v.object({
      file: bundleFile,
      verdict: described(
        v.picklist(['good', 'integrity-only']),
        'good: everything checked, signature included; integrity-only: complete and unaltered, but it was not checked who made it',
      ),
      ...openedFields,
    }),
  ),
  images: v.array(
    v.object({
      source,
      digest,
      kind,
      file: described(v.string(), 'The bundle from which it is served'),
      names: described(v.array(v.string()), 'Names to pull it by, after the advertised host and a slash'),
    }),
  ),
  ambiguous: described(
    v.array(
      v.object({
        name: described(v.string(), 'Repository and tag, without a registry'),
        use: described(v.array(v.string()), 'The full names to use instead'),
      }),
    ),
    'Names without a registry that could mean several images, and are refused',
  ),
  hostsFiles: described(
    v.array(
      v.object({
        registry: described(v.string(), 'The registry that images come from'),
        ...configFile,
      }),
    ),
    'hosts.toml for containerd, one for each registry',
  ),
  registriesConf: described(v.object(configFile), 'For podman, skopeo, buildah and CRI-O'),
})
export type ServeResult = Known<v.InferOutput<typeof ServeSchema>>
