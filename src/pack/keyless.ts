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

/** How a bundle is signed without a key of one's own. */
export interface KeylessOptions {
  /**
   * The identity token (an OpenID Connect JWT): the file that holds it, read again when it is needed, or a function that
   * gives it then. Where left out, `SIGSTORE_ID_TOKEN` or what GitHub Actions gives to a job.
   */
  identityToken?: { file: string } | (() => Promise<string>) | undefined
  /** File with a Sigstore SigningConfig v0.2, which says whom to ask; the public good instance where left out. */
  signingConfig?: string | undefined
  /** trusted_root.json to check the signature with before the bundle gets its name. */
  trustedRoot?: string | undefined
}

/**
 * Reads what is given for keyless signing and looks at the token, before any other work is done.
 * @param isPlan nothing will be signed: then no token is needed.
 * @throws AirgapError `CREDENTIALS` for a token that is missing, unusable or has expired, `INVALID_CONFIG`,
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
  // Private instances may have been told another audience.
  const audience = keyless.signingConfig === undefined ? AUDIENCE : undefined
  const note = (message: string): void => run.onEvent({ type: 'registry', notice: { type: 'note', message } })
  if (token) {
    const { peekAtToken } = await import('../trust/keyless/sign.ts')
    const claims = await peekAtToken({ token, audience })
    const who = claims ? describeClaims(claims) : `whom the token ${token.name} will name`
    note(`It will be signed at the end as ${who} (as the token says; not verified here).`)
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

/** What signing cannot take back. */
function consequence({ authority, logs }: SigningServices): string {
  const hosts = [...new Set([authority, ...logs.map(({ url }) => url)].map(({ host }) => host))].join(' and ')
  return `This identity and the SHA-256 of SHA256SUMS go into the logs of ${hosts}: where these are public, for ever.`
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

/** Makes a bundle's signature when everything else is in its place. */
export interface LateSigner {
  /** Bytes of the signature's entry, whatever will be in it. */
  size: number
  /** @throws AirgapError whatever keeps it from being made; all else is kept then. */
  sign(checksums: Uint8Array): Promise<CertificateSignature>
}

/**
 * Signs a bundle of which everything is there, and on the disk, the place of the signature included: what becomes public
 * now cannot be taken back because something local fails.
 *
 * @throws AirgapError `INCOMPLETE` when it cannot be signed: then the same call has nothing left to do but that.
 */
export async function signLate(
  late: LateSigner,
  checksums: Buffer,
  { writer, output, journal }: { writer: FileWriter; output: OutputFile; journal: Journal },
  signal?: AbortSignal,
): Promise<CertificateSignature> {
  // Nothing of it needs to have come over the network to be worth keeping.
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
  const again = 'Everything is fetched and kept: the same command has only this left to do.'
  return new AirgapError('INCOMPLETE', `${path} is complete but for its signature, which could not be made`, {
    hint: [...error.hints, `\n${again}`],
    problems: [{ entry: SIGSTORE_SIGNATURE, message: error.message, code: error.code }],
    cause: error,
  })
}
