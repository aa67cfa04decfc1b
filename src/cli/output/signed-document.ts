import { DocumentFile } from '../../files/document-file.ts'
import { digestOf, type Digest } from '../../oci/digest.ts'
import type { SigningKey } from '../../index.ts'
import { openSigningKey } from '../input/private-key.ts'

const SIGSTORE = '.sigstore.json'
const RAW = '.sig'

/** A report or a receipt to be written, with signatures next to it if there is a key. */
export class SignedDocument {
  readonly #file: DocumentFile
  readonly #key: SigningKey | undefined

  private constructor(file: DocumentFile, key: SigningKey | undefined) {
    this.#file = file
    this.#key = key
  }

  /**
   * Reserves all its files. Existing files are not overwritten.
   * @throws AirgapError `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `OUTPUT_UNFINISHED`, `FILE`, `DISK_FULL`
   */
  static async reserve(path: string, key: SigningKey | undefined): Promise<SignedDocument> {
    return new SignedDocument(await DocumentFile.reserve(path, key ? [SIGSTORE, RAW] : []), key)
  }

  /** As the user named it. */
  get path(): string {
    return this.#file.path
  }

  /** The key that signs it. */
  get keyFingerprint(): string | undefined {
    return this.#key?.publicKey.fingerprint
  }

  /**
   * Signs and writes all files, or none.
   * @returns the SHA-256 of the document.
   * @throws AirgapError `FILE`, `DISK_FULL`, `OUTPUT_EXISTS`; those of the key.
   */
  async write(bytes: Uint8Array): Promise<Digest> {
    const parts = new Map([['', bytes]])
    if (this.#key) {
      const { signBytes } = await import('../../index.ts')
      const { bundleJson, der } = await signBytes(bytes, this.#key)
      parts.set(SIGSTORE, bundleJson).set(RAW, der)
    }
    await this.#file.write(parts)
    return digestOf(bytes)
  }

  /** Releases the reserved files. Does nothing after {@link write}. */
  async discard(): Promise<void> {
    await this.#file.discard()
  }
}

/** Where the passwords of the keys for documents come from. */
const PLACES = {
  report: { flag: '--report-password-file', variable: 'AIRGAP_REPORT_PASSWORD' },
  receipt: { flag: '--receipt-password-file', variable: 'AIRGAP_RECEIPT_PASSWORD' },
} as const

/**
 * Opens the key that signs a document, if there is one.
 * @throws AirgapError `FILE`, `INVALID_KEY`, `PASSWORD`
 */
export async function openDocumentKey(
  document: keyof typeof PLACES,
  path: string | undefined,
  passwordFile: string | undefined,
  onWarning: (message: string) => void,
): Promise<SigningKey | undefined> {
  if (path === undefined) return undefined
  const key = await openSigningKey(path, passwordFile, undefined, PLACES[document])
  for (const message of key.warnings) onWarning(message)
  return key
}
