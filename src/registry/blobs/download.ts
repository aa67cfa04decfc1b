import { AirgapError, type Problem } from '../../errors.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { openRanged } from './blobs.ts'
import type { Shared } from '../net/connection.ts'
import { encodingHint, encodingText, failure, type HttpResponse } from '../net/http.ts'
import { damagedHint } from '../faults/quote.ts'
import { transportError } from '../faults/transport.ts'
import { during, type Context } from '../notices.ts'
import { LEAST_RATE_AMONG_OTHERS } from '../net/throttle/slowness.ts'
import { isStall, throwIfAborted, withRetry } from '../net/retry.ts'
import { type Begun, type BlobSink, Intake } from './intake.ts'
import { hostOf, printableUrl } from '../net/hosts.ts'
import { leadsInside } from '../net/reach.ts'
import type { Transport } from '../net/transport.ts'
import { type BlobStream, slowLast, type Source } from '../../content/source.ts'

export type { Begun, BlobSink } from './intake.ts'

/** A blob to download: its digest, its size, and other places where it may be. */
type Wanted = Pick<Descriptor, 'digest' | 'size' | 'urls'>

export interface DownloadOptions {
  /** The client that the sources belong to. */
  client: { readonly shared: Shared }
  signal?: AbortSignal | undefined
  /** Gets the number of bytes of this blob written so far; after a restart it begins at 0 again. */
  onProgress?: ((bytes: number) => void) | undefined
  /** Resumes after what the sink already has. The sink has to be restartable. */
  begun?: Begun | undefined
}

/** After so many new bytes, a broken transfer counts as the first failure again. */
const REAL_PROGRESS = 16 * 1024 * 1024
const WRONG_DIGESTS_PER_SOURCE = 2

export interface Origin {
  /** For messages and the result. */
  name: string
  host: string
  context: Context
  /** @param leastRate see {@link Source.openBlob}. */
  open(offset: number, signal: AbortSignal | undefined, leastRate?: number): Promise<BlobStream>
  onPassedOver?: Source['onPassedOver']
}

/**
 * Downloads a blob from the first source that delivers it. A broken transfer resumes from its last byte, a limited
 * number of times for each source, then from the same byte at the next source. All bytes are hashed. More bytes than
 * `descriptor.size` are an error at once. After a wrong digest, the download starts from zero if the sink allows that.
 * The bytes of `begun` are resumed likewise. If a source keeps us waiting, the others are tried at once, and it is
 * asked after them for the rest of the run; if none of them delivers, it is waited for as usual. For a foreign layer
 * (`descriptor.urls`) its http and https URLs follow, without credentials.
 *
 * @returns the name of the source that completed the blob.
 * @throws AirgapError the last source's error, with the errors of all sources as `problems` if there were several.
 *   Errors of the sink are passed on unchanged.
 */
export async function downloadBlob(
  sources: Source[],
  descriptor: Wanted,
  sink: BlobSink,
  options: DownloadOptions,
): Promise<{ source: string }> {
  const { hosts } = options.client.shared
  const all = [
    ...sources.map((source) => fromRepository(source, descriptor)),
    ...foreignOrigins(sources, descriptor, options.client.shared),
  ]
  const download = new Download(descriptor, sink, options)
  const failures: { problem: Problem; error: AirgapError }[] = []
  const origins = slowLast(all, ({ host }) => hosts.isSlow(host))
  const left = new Set<Origin>()
  try {
    // Origins added during the loop are visited, too.
    for (const [i, origin] of origins.entries()) {
      const isAgain = left.has(origin)
      const hasOthers = i < origins.length - 1
      try {
        await download.from(origin, hasOthers && !isAgain)
        return { source: origin.name }
      } catch (error) {
        throwIfAborted(options.signal, origin.context)
        if (download.isOver || !(error instanceof AirgapError)) throw error
        if (hasOthers) origin.onPassedOver?.(error)
        if (hasOthers && !isAgain && isStall(error)) {
          hosts.wasSlow(origin.host)
          left.add(origin)
          origins.push(origin)
        } else {
          failures.push({ problem: { entry: origin.name, message: error.message }, error })
        }
      }
    }
  } finally {
    await download.settle()
  }
  throw summary(failures, descriptor)
}

function summary(failures: { problem: Problem; error: AirgapError }[], descriptor: Wanted): AirgapError {
  const last = failures.at(-1)?.error
  if (last === undefined) {
    return new AirgapError(
      'NOT_FOUND',
      `cannot fetch the blob ${descriptor.digest}: there is no source for it`,
    )
  }
  if (failures.length === 1) return last
  return new AirgapError(last.code, `${last.message} (the last of ${failures.length} sources tried)`, {
    hint: last.hints,
    problems: failures.map(({ problem }) => problem),
    cause: last,
  })
}

/** The state of a download across attempts and sources. */
class Download {
  /** No other source can help: the sink failed, or has got wrong bytes that cannot be taken back. */
  isOver = false
  readonly #descriptor: Wanted
  readonly #intake: Intake
  readonly #options: DownloadOptions
  #position = 0
  /** The beginning came from an earlier download. */
  #isGoingOn: boolean
  #wrongDigests = 0
  #encoding: string | undefined

  constructor(descriptor: Wanted, sink: BlobSink, options: DownloadOptions) {
    this.#descriptor = descriptor
    this.#intake = new Intake(sink, descriptor.size, options.client.shared, options.begun)
    this.#options = options
    this.#position = options.begun?.position ?? 0
    this.#isGoingOn = options.begun !== undefined
  }

  /** @param hasOthers whether other sources may have the blob, so that this one is not waited for. */
  async from(origin: Origin, hasOthers: boolean): Promise<void> {
    const { client, signal } = this.#options
    const { policy, onNotice, hosts } = client.shared
    let mark = this.#position
    this.#wrongDigests = 0
    const progressed = (): boolean => {
      const isReal = this.#position - mark >= REAL_PROGRESS
      mark = this.#position
      return isReal
    }
    const { context } = origin
    const isFinal = (error: AirgapError): boolean => hasOthers && isStall(error)
    await withRetry({ policy, onNotice, signal, context, progressed, isFinal, hosts }, async () => {
      await this.#transfer(origin, hasOthers ? LEAST_RATE_AMONG_OTHERS : undefined)
      await this.#finish(origin)
    })
  }

  /** Waits until all writing has ended. */
  settle(): Promise<void> {
    return this.#intake.settle()
  }

  async #transfer(origin: Origin, leastRate: number | undefined): Promise<void> {
    const { size } = this.#descriptor
    const { signal } = this.#options
    const stream = await origin.open(this.#position, signal, leastRate)
    this.#encoding = stream.encoding
    try {
      if (stream.total !== undefined && stream.total !== size) {
        throw this.#mismatch(origin, `it has ${stream.total} bytes there instead of ${size}`)
      }
      // A server without ranges sends again what is already here.
      let skip = this.#position - stream.start
      for await (const chunk of this.#chunks(stream, origin)) {
        const fresh = chunk.subarray(Math.min(skip, chunk.length))
        skip -= chunk.length - fresh.length
        if (fresh.length > 0) await this.#take(fresh, origin)
      }
    } finally {
      stream.cancel()
    }
    if (this.#position < size) {
      throw new AirgapError('NETWORK', `${origin.host} ended after ${this.#position} of ${size} bytes`, {
        ...during(origin.context),
      }).with({ transience: {} })
    }
  }

  /**
   * The stream's chunks. Marks its errors, so that they differ from the sink's. Errors after the last byte are ignored.
   */
  async *#chunks(stream: BlobStream, origin: Origin): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of stream.body) yield chunk
    } catch (error) {
      if (this.#position === this.#descriptor.size && this.#options.signal?.aborted !== true) return
      const { stallTimeoutMs: stallMs } = this.#options.client.shared.transport
      const fault = transportError(error, origin.context, origin.host, this.#options.signal, { stallMs })
      throw stream.withOrigin(fault)
    }
  }

  async #take(chunk: Uint8Array, origin: Origin): Promise<void> {
    const { size } = this.#descriptor
    if (this.#position + chunk.length > size) {
      const error = this.#mismatch(origin, `more than the ${size} bytes stated come from there`)
      // The bytes before the surplus may be right, but nothing from such a source is kept.
      await this.#restart(error)
      throw error
    }
    this.#position += chunk.length
    await this.#write(this.#intake.add(chunk))
    this.#options.onProgress?.(this.#position)
  }

  /** The last bytes are written only after the digest is found to be right. */
  async #finish(origin: Origin): Promise<void> {
    const actual = await this.#intake.digest()
    if (actual === this.#descriptor.digest) return this.#write(this.#intake.end())
    if (this.#isGoingOn) {
      // The earlier beginning may well be what is wrong, so no source is blamed.
      const { operation } = origin.context
      const message = `cannot ${operation}: resumed from an earlier download, its bytes have the digest ${actual}`
      const error = new AirgapError('CONTENT_MISMATCH', message)
      await this.#restart(error)
      throw error.with({ transience: {} })
    }
    const error = this.#mismatch(origin, `its bytes have the digest ${actual}`)
    await this.#restart(error)
    this.#wrongDigests++
    throw this.#wrongDigests < WRONG_DIGESTS_PER_SOURCE ? error.with({ transience: {} }) : error
  }

  async #write(written: Promise<void>): Promise<void> {
    try {
      await written
    } catch (error) {
      this.isOver = true
      throw error
    }
  }

  /** @throws `reason` if the bytes written cannot be taken back. */
  async #restart(reason: AirgapError): Promise<void> {
    if (!this.#intake.canRestart) {
      this.isOver = true
      throw reason
    }
    await this.#intake.restart()
    this.#position = 0
    this.#isGoingOn = false
    this.#options.onProgress?.(0)
  }

  #mismatch(origin: Origin, reason: string): AirgapError {
    if (this.#encoding !== undefined) {
      return new AirgapError('CONTENT_MISMATCH', `${reason}; it ${encodingText(this.#encoding)}`, {
        ...during(origin.context),
        hint: encodingHint(origin.host),
      })
    }
    return new AirgapError('CONTENT_MISMATCH', reason, {
      ...during(origin.context),
      hint: damagedHint(origin.host),
    })
  }
}

function fromRepository(source: Source, { digest }: Pick<Descriptor, 'digest'>): Origin {
  return {
    name: source.name,
    host: source.registry,
    context: {
      registry: source.registry,
      operation: `fetch the blob ${digest} of ${source.name}`,
      subject: source.name,
    },
    open: (offset, signal, leastRate) => source.openBlob(digest, offset, signal, leastRate),
    onPassedOver: source.onPassedOver,
  }
}

/**
 * The places outside registries that a foreign layer names (image-spec § descriptor, `urls`). They get no credentials.
 * A place inside a private network is refused unless all registries that the image may come from are inside too:
 * anybody who may push to a public registry can write such an address.
 */
export function foreignOrigins(
  sources: readonly Source[],
  { digest, urls }: Pick<Descriptor, 'digest' | 'urls'>,
  { transport, reach }: Pick<Shared, 'transport' | 'reach'>,
): Origin[] {
  const registries = [...new Set(sources.map(({ registry }) => registry))]
  const from = registries.map(hostOf)
  const origins: Origin[] = []
  for (const text of urls ?? []) {
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url?.protocol !== 'https:' && url?.protocol !== 'http:') continue
    const operation = `fetch the foreign layer ${digest} from ${printableUrl(url)}`
    const context = { registry: url.host, operation }
    const check = async (to: URL): Promise<void> => {
      if (!(await leadsInside(to.hostname, from, reach))) return
      const named = to === url ? 'which' : `which redirects to ${printableUrl(to)}, which`
      const others =
        registries.length === 0
          ? 'no registry is'
          : `${registries.join(' and ')} ${registries.length === 1 ? 'is' : 'are'} not`
      throw new AirgapError(
        'UNSUPPORTED_CONTENT',
        `cannot ${operation}, ${named} is inside a private network while ${others}`,
        {
          hint: [
            'Whoever made the image could name any address in this network, so airgap does not contact it. If you want the layer from there, put it into your own registry and use that as a mirror.',
            { id: 'mirror', registry: undefined },
          ],
        },
      )
    }
    origins.push({
      name: printableUrl(url),
      host: url.host,
      context,
      open: async (offset, signal, leastRate) => {
        await check(url)
        return openRanged(offset, context, (headers) =>
          get(transport, { url, headers, leastRate, context, signal, checkRedirect: check }),
        )
      },
    })
  }
  return origins
}

async function get(
  transport: Transport,
  request: {
    url: URL
    headers: Record<string, string>
    leastRate: number | undefined
    context: Context
    signal: AbortSignal | undefined
    checkRedirect: (to: URL) => Promise<void>
  },
): Promise<HttpResponse> {
  const response = await transport.request({ method: 'GET', ...request })
  if (response.status === 200 || response.status === 206 || response.status === 416) return response
  throw await failure(response, { kind: 'none' }, request.context)
}
