import { readSmallFile } from '../files/small-file.ts'
import { sleep, SYSTEM_CLOCK } from '../registry/net/throttle/clock.ts'
import type { SigningServices } from '../trust/keyless/signing-config.ts'
import type { TokenSource } from '../trust/keyless/token-source.ts'
import type { NetworkOptions } from '../registry/options.ts'
import type { Run } from '../content/run.ts'
import { isPlainHttp, withServices } from '../registry/services.ts'
import type { FileWriter } from '../bundle/writer.ts'
import { SIGSTORE_SIGNATURE } from '../bundle/names.ts'
import { AirgapError } from '../errors.ts'
import type { OutputFile } from '../files/output-file.ts'
import type { CertificateSignature } from '../trust/keyless/sign.ts'
import type { Journal } from './resume/journal.ts'

/** How a bundle is signed with a certificate for an identity, instead of a key. */
export interface KeylessOptions {
  /**
   * The identity token (an OpenID Connect JWT): its file, which is read again when the token is needed, or a function that
   * returns it then. By default `SIGSTORE_ID_TOKEN`, or the token that GitHub Actions gives to a job.
   */
  identityToken?: { file: string } | (() => Promise<string>) | undefined
  /** File with a Sigstore SigningConfig v0.2, which names the services; by default the public good instance. */
  signingConfig?: string | undefined
  /** trusted_root.json to check the signature with before the bundle gets its name. */
  trustedRoot?: string | undefined
}

/**
 * Reads the files for keyless signing and looks at the token, before any other work is done.
 * @param isPlan whether nothing will be signed: then no token is needed.
 * @throws AirgapError `CREDENTIALS` if the token is missing, unusable or expired; `INVALID_CONFIG`,
 *   `INVALID_CONTENT`, `FILE`
 */
export async function prepareKeyless(
  keyless: KeylessOptions,
  network: NetworkOptions,
  run: Run,
  { isPlan }: { isPlan: boolean },
): Promise<LateSigner> {
  const { CERTIFICATE_BUNDLE_SIZE } = await import('../trust/keyless/spelling.ts')
  const { AUDIENCE } = await import('../trust/keyless/token-source.ts')
  const { describeClaims } = await import('../trust/keyless/identity-token.ts')
  const services = await servicesFor(keyless, network)
  const trustedRoot = await rootFor(keyless)
  const token = isPlan ? undefined : await sourceOf(keyless)
  // Private instances may expect another audience.
  const audience = keyless.signingConfig === undefined ? AUDIENCE : undefined
  const note = (message: string): void => run.onEvent({ type: 'registry', notice: { type: 'note', message } })
  if (token) {
    const { peekAtToken } = await import('../trust/keyless/sign.ts')
    const claims = await peekAtToken({ token, audience })
    const who = claims ? describeClaims(claims) : `the identity that the token ${token.name} will name`
    note(`The bundle will be signed at the end as ${who} (from the token; not verified here).`)
  }
  return {
    size: CERTIFICATE_BUNDLE_SIZE,
    sign: (bytes) =>
      withServices(network, run, async ({ ask }) => {
        const { signKeyless } = await import('../trust/keyless/sign.ts')
        return signKeyless(bytes, {
          token: token ?? (await sourceOf(keyless)),
          audience,
          services,
          trustedRoot,
          ask,
          wait: (ms) => sleep(SYSTEM_CLOCK, ms, run.signal),
          onPublish: (claims) => {
            note(`Signing as ${describeClaims(claims)}. ${consequence(services)}`)
          },
        })
      }),
  }
}

/** What cannot be undone about signing. */
function consequence({ authority, logs }: SigningServices): string {
  const hosts = [...new Set([authority, ...logs.map(({ url }) => url)].map(({ host }) => host))].join(' and ')
  return `This identity and the SHA-256 of SHA256SUMS go into the logs of ${hosts}. If these are public, this cannot be undone.`
}

async function servicesFor(keyless: KeylessOptions, network: NetworkOptions): Promise<SigningServices> {
  const { MAX_SIGNING_CONFIG, PUBLIC_SERVICES, servicesOf } =
    await import('../trust/keyless/signing-config.ts')
  const { signingConfig: file } = keyless
  if (file === undefined) return PUBLIC_SERVICES
  const bytes = await readSmallFile(file, MAX_SIGNING_CONFIG, 'signing config')
  return servicesOf(bytes, file, { now: Date.now(), plainHttp: isPlainHttp(network) })
}

async function rootFor({ trustedRoot }: KeylessOptions) {
  if (trustedRoot === undefined) return undefined
  const { readTrustedRoot } = await import('../trust/identity/trusted-root.ts')
  return readTrustedRoot(trustedRoot)
}

async function sourceOf({ identityToken }: KeylessOptions): Promise<TokenSource> {
  const sources = await import('../trust/keyless/token-source.ts')
  if (identityToken === undefined) return sources.tokenFromEnvironment(process.env)
  if (typeof identityToken === 'function') return sources.tokenFromCaller(identityToken)
  return sources.tokenInFile(identityToken.file)
}

/** Makes a bundle's signature after everything else is written. */
export interface LateSigner {
  /** Bytes of the signature's entry, which are fixed. */
  size: number
  /** @throws AirgapError if it cannot be made; everything else is kept then. */
  sign(checksums: Uint8Array): Promise<CertificateSignature>
}

/**
 * Signs a bundle after everything else is on the disk, including the space for the signature: once the signature is public,
 * no local failure should prevent the bundle from being finished.
 *
 * @throws AirgapError `INCOMPLETE` if it cannot be signed: then the same call only has to sign.
 */
export async function signLate(
  late: LateSigner,
  checksums: Buffer,
  { writer, output, journal }: { writer: FileWriter; output: OutputFile; journal: Journal },
  signal?: AbortSignal,
): Promise<CertificateSignature> {
  // Worth keeping even if nothing was fetched.
  journal.isWorthKeeping = true
  await writer.holdSignature()
  await output.settle()
  await journal.flush()
  signal?.throwIfAborted()
  try {
    return await late.sign(checksums)
  } catch (error) {
    signal?.throwIfAborted()
    if (!(error instanceof AirgapError) || error.code === 'INTERRUPTED') throw error
    throw notSigned(error, output.path)
  }
}

function notSigned(error: AirgapError, path: string): AirgapError {
  const again = 'Everything was fetched and is kept: the same command only has to sign.'
  return new AirgapError(
    'INCOMPLETE',
    `${path} is complete except for its signature, which could not be made`,
    {
      hint: [...error.hints, `\n${again}`],
      problems: [{ entry: SIGSTORE_SIGNATURE, message: error.message, code: error.code }],
      cause: error,
    },
  )
}
