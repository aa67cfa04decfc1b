import { isRepository } from '../oci/reference.ts'
import { hostPart } from '../push/names.ts'
import { lstat, mkdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { AirgapError, fileError, systemCode } from '../errors.ts'
import { OutputFile } from '../files/output-file.ts'

/** containerd's `hosts.toml` for several registries, below one folder as `ctr --hosts-dir` and `config_path` expect. */
export class HostsFolder {
  readonly #outputs = new Map<string, OutputFile>()
  readonly #made: string[] = []

  /**
   * Creates the folders and reserves the files, so that conflicts are found before any long work.
   * @throws AirgapError `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `FILE`
   */
  static async reserve(
    folder: string,
    registries: readonly string[],
    { force }: { force: boolean },
  ): Promise<HostsFolder> {
    const reserved = new HostsFolder()
    try {
      await reserved.#makeFolder(folder)
      for (const registry of registries) {
        await reserved.#makeFolder(join(folder, registry))
        const path = join(folder, registry, 'hosts.toml')
        reserved.#outputs.set(registry, await OutputFile.reserve(path, { force }))
      }
      return reserved
    } catch (error) {
      await reserved.discard()
      throw error
    }
  }

  /** Writes the reserved files. */
  async write(files: readonly HostsFile[]): Promise<void> {
    for (const { registry, content } of files) {
      const output = this.#outputs.get(registry)
      if (!output) throw new AirgapError('INTERNAL', `no file was reserved for ${registry}`)
      await output.write(Buffer.from(content), 0)
      await output.commit()
      this.#outputs.delete(registry)
    }
    this.#made.length = 0
  }

  /** Removes the files that {@link write} has not finished, and the folders created for them. */
  async discard(): Promise<void> {
    for (const output of this.#outputs.values()) await output.discard()
    for (const folder of this.#made.splice(0).toReversed()) {
      await rmdir(folder).catch((error: unknown) => {
        if (systemCode(error) !== 'ENOTEMPTY') throw error
      })
    }
  }

  async #makeFolder(path: string): Promise<void> {
    try {
      await mkdir(path)
      this.#made.push(path)
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw fileError(error, 'create', path)
      const info = await lstat(path)
      if (info.isDirectory()) return
      throw new AirgapError(
        'OUTPUT_UNSAFE',
        `cannot write below ${path}: it is not a folder, or it is a symbolic link`,
        {
          hint: 'Name the folder itself.',
        },
      )
    }
  }
}

/** A configuration file for nodes. */
export interface ConfigFile {
  /** Its path on a node. */
  path: string
  content: string
}

/** containerd's `hosts.toml` for one source registry. */
export interface HostsFile extends ConfigFile {
  registry: string
}

/** Where nodes reach the server. */
export interface ReachableAt {
  /** `registry.internal:5000` */
  host: string
  isTls: boolean
}

const CERTS_D = '/etc/containerd/certs.d'

/**
 * The `hosts.toml` that makes containerd pull a source registry's images from here, under their own names (containerd
 * docs/hosts.md). containerd says with `?ns=` which registry it means. `server` is also this registry, so that containerd
 * never tries the internet for images that the bundles lack.
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
 * The file that makes podman, skopeo, buildah and CRI-O pull the images of these registries from here and nowhere else,
 * under their own names (containers-registries.conf(5)).
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
