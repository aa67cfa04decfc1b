import { lstat, unlink } from 'node:fs/promises'
import { fileError, systemCode } from '../errors.ts'
import { OutputFile } from './output-file.ts'
import { identityOf, isSameFile } from './own-file.ts'

/** The bytes of each file, by its suffix to the document's name: `''` is the document itself. */
export type DocumentParts = ReadonlyMap<string, Uint8Array>

/**
 * A document and the files beside it (its signatures). Either all of them appear, complete and synced, or none does.
 * Existing files are never overwritten.
 */
export class DocumentFile {
  readonly path: string
  readonly #outputs: ReadonlyMap<string, OutputFile>

  private constructor(path: string, outputs: ReadonlyMap<string, OutputFile>) {
    this.path = path
    this.#outputs = outputs
  }

  /**
   * Reserves the names, so that a conflict is found before any work is done.
   * @param suffixes of the files beside it, like `.sig`.
   * @throws AirgapError `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `OUTPUT_UNFINISHED`, `FILE`, `DISK_FULL`
   */
  static async reserve(path: string, suffixes: readonly string[] = []): Promise<DocumentFile> {
    const outputs = new Map<string, OutputFile>()
    try {
      for (const suffix of ['', ...suffixes]) {
        outputs.set(suffix, await OutputFile.reserve(`${path}${suffix}`, { canForce: false }))
      }
    } catch (error) {
      for (const output of outputs.values()) await output.discard()
      throw error
    }
    return new DocumentFile(path, outputs)
  }

  /**
   * Writes everything. The document gets its name last, so it never appears without its signatures.
   * @param parts one for each reserved name.
   * @throws AirgapError `FILE`, `DISK_FULL`, `OUTPUT_EXISTS`; then no file is left behind.
   */
  async write(parts: DocumentParts): Promise<void> {
    const named: OutputFile[] = []
    try {
      for (const [suffix, output] of this.#outputs)
        await output.write(parts.get(suffix) ?? Buffer.alloc(0), 0)
      // Sync before anything gets its name: a full disk may show only here.
      for (const output of this.#outputs.values()) await output.sync()
      for (const output of [...this.#outputs.values()].toReversed()) {
        named.push(output)
        await output.commit()
      }
    } catch (error) {
      for (const output of named) await takeBack(output)
      await this.discard()
      throw error
    }
  }

  /** Releases the names. Harmless after {@link write}. */
  async discard(): Promise<void> {
    for (const output of this.#outputs.values()) await output.discard()
  }
}

/** Removes a file that already got its name, unless somebody has replaced it since. */
async function takeBack({ path, identity }: OutputFile): Promise<void> {
  try {
    if (isSameFile(identityOf(await lstat(path, { bigint: true })), identity)) await unlink(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fileError(error, 'remove', path)
  }
}
