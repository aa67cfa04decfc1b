import { lstat, unlink } from 'node:fs/promises'
import { fileError, systemCode } from '../errors.ts'
import { OutputFile } from './output-file.ts'
import { identityOf, isSameFile } from './own-file.ts'

/** Bytes, and under which name behind the document's own: `''` for the document itself. */
export type DocumentParts = ReadonlyMap<string, Uint8Array>

/**
 * A document and what belongs beside it (its signatures): all of them appear, complete and synced, or none does. Nothing
 * that is there already is written over.
 */
export class DocumentFile {
  readonly path: string
  readonly #outputs: ReadonlyMap<string, OutputFile>

  private constructor(path: string, outputs: ReadonlyMap<string, OutputFile>) {
    this.path = path
    this.#outputs = outputs
  }

  /**
   * Takes the names, so that whatever stands in the way is known before any work is done.
   * @param suffixes what will stand beside it, like `.sig`.
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
   * Writes everything; the document gets its name last, so that one that is there is there with its signatures.
   * @param parts one for each name that was taken.
   * @throws AirgapError `FILE`, `DISK_FULL`, `OUTPUT_EXISTS`; then nothing is left.
   */
  async write(parts: DocumentParts): Promise<void> {
    const named: OutputFile[] = []
    try {
      for (const [suffix, output] of this.#outputs)
        await output.write(parts.get(suffix) ?? Buffer.alloc(0), 0)
      // A disk may find out only now that it is full: before anything has a name.
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

  /** Gives the names back. Harmless after {@link write}. */
  async discard(): Promise<void> {
    for (const output of this.#outputs.values()) await output.discard()
  }
}

/** Removes a file that has its name already, if it is still the one that was written here. */
async function takeBack({ path, identity }: OutputFile): Promise<void> {
  try {
    if (isSameFile(identityOf(await lstat(path, { bigint: true })), identity)) await unlink(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fileError(error, 'remove', path)
  }
}
