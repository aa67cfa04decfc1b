import { isRepository } from '../oci/reference.ts'
import { hostPart } from '../push/names.ts'

/** A file for nodes. */
export interface ConfigFile {
  /** Where it belongs on a node. */
  path: string
  content: string
}

/** containerd's file for one source registry. */
export interface HostsFile extends ConfigFile {
  registry: string
}

/** Where nodes reach what is served. */
export interface ReachableAt {
  /** `registry.internal:5000` */
  host: string
  isTls: boolean
}

const CERTS_D = '/etc/containerd/certs.d'

/**
 * The `hosts.toml` by which containerd gets a source registry's images from here, under their own names
 * (containerd docs/hosts.md). It says by `?ns=` which registry it wants. `server` is this registry as well: what
 * the bundles lack is then missing, and not asked for on the internet.
 */
export function hostsFile(registry: string, { host, isTls }: ReachableAt): HostsFile {
  const url = `${isTls ? 'https' : 'http'}://${host}`
  const lines = [
    `server = "${url}"`,
    '',
    `[host."${url}"]`,
    '  capabilities = ["pull", "resolve"]',
    ...(isTls ? [`  # ca = "${CERTS_D}/airgap-ca.crt"  # unless the node trusts its authority already`] : []),
  ]
  return { registry, path: `${CERTS_D}/${registry}/hosts.toml`, content: `${lines.join('\n')}\n` }
}

/**
 * The file by which podman, skopeo, buildah and CRI-O get the images of these registries from here, under their own
 * names (containers-registries.conf(5)), and from nowhere else.
 */
export function registriesConf(registries: readonly string[], { host, isTls }: ReachableAt): ConfigFile {
  const parts = registries
    .filter((registry) => isRepository(hostPart(registry)))
    .map((registry) =>
      [
        '[[registry]]',
        `prefix = "${registry}"`,
        `location = "${host}/${hostPart(registry)}"`,
        ...(isTls ? [] : ['insecure = true']),
      ].join('\n'),
    )
  return { path: '/etc/containers/registries.conf.d/airgap.conf', content: `${parts.join('\n\n')}\n` }
}
