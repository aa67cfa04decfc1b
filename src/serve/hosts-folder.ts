import { lstat, mkdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { AirgapError, fileError, systemCode } from '../errors.ts'
import { OutputFile } from '../files/output-file.ts'
import type { HostsFile } from './node-config.ts'

/** containerd's files for several registries, below one folder as `ctr --hosts-dir` and `config_path` want them. */
export class HostsFolder {
  readonly #outputs = new Map<string, OutputFile>()
  readonly #made: string[] = []

  /**
   * Makes the folders and finds out what stands in the way, before any long work.
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

  /** Writes the files that places were reserved for. */
  async write(files: readonly HostsFile[]): Promise<void> {
    for (const { registry, content } of files) {
      const output = this.#outputs.get(registry)
      if (!output) throw new AirgapError('INTERNAL', `no place was reserved for ${registry}`)
      await output.write(Buffer.from(content), 0)
      await output.commit()
      this.#outputs.delete(registry)
    }
    this.#made.length = 0
  }

  /** Removes what {@link write} has not finished, and the folders made for it. */
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
        `cannot write below ${path}: it is not a folder, or it is a link`,
        {
          hint: 'Name the folder itself with --hosts-dir.',
        },
      )
    }
  }
}
