import type { ImageEntry } from '../bundle/description.ts'
import type { ReferrerChoice } from '../oci/manifest.ts'
import { AirgapError } from '../errors.ts'
import { parsePattern } from '../oci/pattern.ts'
import { formatTarget, parseReference } from '../oci/reference.ts'
import type { OpenedBundle } from '../verify/opened-bundle.ts'
import type { PathStyle } from './names.ts'
import type { PlannedPush } from './planned-push.ts'
import type { Receipt } from './receipt.ts'
import type { PushRecord } from './record.ts'
import { withClient } from '../registry/with-client.ts'
import { checkFormats, imageSigning, type ImageSigningOptions } from './image-signatures/options.ts'
import type { NetworkOptions } from '../registry/options.ts'
import { Reporting, type ReportOptions } from '../verify/report/report.ts'
import { type Run, running } from '../content/run.ts'
import { type RecalledSequences, recallSequences, type SequenceOptions } from '../verify/sequences/recall.ts'
import { tellClock } from '../verify/clock.ts'
import type { PushRun, TargetOptions } from './work.ts'
import { readTrust, type TrustOptions } from '../verify/trust.ts'
import { readUpstreamCheck, type UpstreamCheckOptions } from '../upstream/options.ts'
import { resolve } from 'node:path'
import type { UploadState } from '../registry/blobs/uploads/state/state.ts'
import type { PushPlan } from './planned.ts'

export interface PushOptions
  extends TrustOptions, NetworkOptions, ReportOptions, SequenceOptions, TargetOptions {
  /** The naming rule: keep the source's registry in the path, leave it out, or make one part of all; by default `full`. */
  path?: PathStyle | undefined
  /** `FROM=TO`: names that begin with FROM begin with TO in the target; the longest FROM wins. */
  maps?: readonly string[] | undefined
  /** Patterns of the images to push (`registry.k8s.io/*`); by default all. */
  include?: readonly string[] | undefined
  /** Patterns of images not to push. */
  exclude?: readonly string[] | undefined
  /** Create missing Harbor projects with this visibility before anything is sent. */
  createProjects?: 'private' | 'public' | undefined
  /**
   * Also put the source's own index of images of which the bundle has only some platforms, so that workloads that pin
   * its digest find it. Not every registry accepts such an index.
   */
  sparseIndex?: boolean | undefined
  /**
   * Sign every pushed manifest and index before it is tagged, so that a cluster can tell which images passed this check.
   * Use a separate key that is held inside, never one that signs bundles. Excludes `unauthenticated`. Nothing is added
   * where there is a good signature by this key already.
   */
  signImages?: ImageSigningOptions | undefined
  /**
   * Which of the images' referrers (signatures, attestations, SBOMs) to push; by default `all`. Only referrers of delivered
   * content can be pushed; the receipt has the outcome of each.
   */
  referrers?: ReferrerChoice | undefined
  /** Verify the upstreams' signatures of the pushed images, from the bundle's content, before the first request. */
  upstream?: UpstreamCheckOptions | undefined
  /**
   * The folder that remembers unfinished uploads of large blobs, so that the same push resumes them after it was killed;
   * false remembers nothing. By default `airgap/uploads` in `$XDG_STATE_HOME` or `~/.local/state`.
   */
  stateDirectory?: string | false | undefined
  /** Called when the bundle is authenticated and consistent, before the first request. Throw to stop. */
  onOpened?: ((opened: OpenedBundle) => void | Promise<void>) | undefined
  /**
   * Called if the push is `INCOMPLETE`, or if it failed or was aborted after tags were set, with the receipt of what was
   * done, in which `complete` is false. An error that it throws replaces the error of the push.
   */
  onIncomplete?: ((receipt: Receipt) => void | Promise<void>) | undefined
}

/**
 * Verifies a bundle and pushes it into a registry: blobs first, then manifests, tags last. Only what the registry lacks is
 * sent. After a failure, the same call resumes.
 *
 * `onReport` is called for a push that has a receipt, complete or not, after `onIncomplete`; and for a bundle that is
 * refused.
 *
 * @param target `REGISTRY` or `REGISTRY/PREFIX`
 * @returns the receipt: every image, blob and tag, with its outcome.
 * @throws AirgapError `INCOMPLETE` if some images could not be pushed completely: these have no tags, the others are in
 *   place, and `problems` has each with its own code; also if only source indexes or referrers are missing, because the
 *   registry refuses them. `VERIFICATION_FAILED` before any tag is set; `NAME_CONFLICT`, `INVALID_TARGET_NAME`,
 *   `TAG_WOULD_MOVE` before anything is sent; `USAGE`, `FILE`, `INVALID_KEY`, `INVALID_DIGEST`, and the errors of
 *   registries. The signal's reason if aborted.
 */
export async function push(path: string, target: string, options: PushOptions): Promise<Receipt> {
  const reporting = new Reporting(options)
  let record: PushRecord | undefined
  let complete: Receipt
  try {
    complete = await running(options, (run) =>
      planned(
        path,
        target,
        options,
        { ...run, reporting },
        async ({ opened, plan, target: reached, memory }, engine) => {
          const { executePush } = await import('./execute.ts')
          const { PushRecord } = await import('./record.ts')
          const { refusedIndexes } = await import('./source-index.ts')
          const made = new PushRecord(opened, plan, reached, {
            signing: engine.signImages,
            sequences: memory.evidence,
          })
          record = made
          const receipt = await remembering(
            options.stateDirectory,
            opened,
            reached.origin,
            engine,
            (uploads) =>
              executePush(opened, plan, made, {
                ...engine,
                uploads,
                moveTags: options.moveTags,
                verifyTarget: options.verifyTarget,
                beforeTags: () => memory.record(formatTarget(reached), run.signal),
              }),
          )
          const refused = refusedIndexes(receipt)
          if (refused) throw refused
          return receipt
        },
      ),
    )
  } catch (error) {
    const isIncomplete = error instanceof AirgapError && error.code === 'INCOMPLETE'
    if (record && (isIncomplete || record.hasSetTags)) {
      const receipt = record.receipt(false)
      await options.onIncomplete?.(receipt)
      await reporting.send(receipt)
    }
    if (error instanceof AirgapError && error.code === 'VERIFICATION_FAILED') await reporting.send()
    throw error
  }
  await reporting.send(complete)
  return complete
}

/**
 * Plans what {@link push} would do. Verifies the bundle completely and sends nothing.
 * @throws AirgapError like {@link push}
 */
export async function planPush(path: string, target: string, options: PushOptions): Promise<PlannedPush> {
  return running(options, (run) =>
    planned(path, target, { ...options, isPlan: true }, run, async (made, engine) => {
      const { opened, plan, target: reached, memory } = made
      const { contentEntries, requireContent } = await import('../verify/content.ts')
      const { describePlan } = await import('./planned-push.ts')
      // A push hashes everything before it sets a tag, so the plan has to tell whether that will succeed.
      await requireContent(opened, contentEntries(opened), engine)
      const { throwIfUnplanned } = await import('./push-failures.ts')
      throwIfUnplanned(plan.images)
      const { describeSignatures } = await import('./image-signatures/describe.ts')
      const signatures = await describeSignatures(plan, engine.signImages, engine)
      run.signal.throwIfAborted()
      return describePlan(opened, plan, reached, { signatures, sequences: memory.evidence })
    }),
  )
}

interface Plan {
  opened: OpenedBundle
  plan: PushPlan
  target: Receipt['target']
  memory: RecalledSequences
}

/** Opens a bundle, plans its push, and runs `work` with both. */
async function planned<T>(
  path: string,
  target: string,
  options: PushOptions & { isPlan?: boolean },
  run: Run & { reporting?: Reporting },
  work: (plan: Plan, engine: PushRun) => Promise<T>,
): Promise<T> {
  const { nameImages, parseNameMap, parseTarget } = await import('./names.ts')
  const parsed = parseTarget(target)
  const maps = (options.maps ?? []).map((map) => parseNameMap(map))
  const select = selection(options.include, options.exclude)
  checkFormats(options)
  const trust = await readTrust(options)
  const check = options.upstream && (await readUpstreamCheck(options.upstream, trust.root))
  const { openBundle } = await import('../verify/open.ts')
  const { verificationError } = await import('../verify/content.ts')
  const plans = await import('./plan.ts')
  const opened = await openBundle(path, trust, run.signal)
  run.reporting?.of(opened, trust)
  try {
    const willRecord = options.isPlan !== true
    const memory = await recallSequences(opened, trust, options, {
      willRecord,
      target: formatTarget(parsed),
      onEvent: run.onEvent,
    })
    opened.sequences = memory.evidence
    if (opened.problems.length > 0 || !opened.description) throw verificationError(path, opened)
    const images = opened.images.filter(({ image }) => select(image))
    const signing = await imageSigning(options, images, trust, opened, run.onEvent)
    tellClock(opened, run.onEvent)
    if (check) {
      const { checkUpstream, upstreamError } = await import('../upstream/check-bundle.ts')
      opened.upstream = await checkUpstream({ ...opened, images }, check, run)
      const error = upstreamError(path, opened.upstream)
      if (error) throw error
    }
    await options.onOpened?.(opened)
    return await withClient(options, run, async (client) => {
      const engine = { ...run, concurrency: options.concurrency, client, signImages: signing }
      const naming = { target: parsed, path: options.path ?? 'full', maps }
      const repositories = (): string[] =>
        [
          ...nameImages(
            images.map(({ image }) => image),
            naming,
          ).values(),
        ].map(({ repository }) => repository)
      const explain = async (
        error: AirgapError,
        { projects }: Pick<PushPlan, 'projects'>,
      ): Promise<AirgapError> => {
        if (run.signal.aborted) return error
        const { explainRefusal } = await import('./refusals.ts')
        const plannedProjects = projects.map(({ name }) => name)
        const { registry } = parsed
        return explainRefusal(error, {
          ...engine,
          registry,
          path: naming.path,
          repositories,
          plannedProjects,
        })
      }
      const plan = await plans
        .makePushPlan(opened, {
          ...engine,
          ...naming,
          select,
          moveTags: options.moveTags,
          createProjects: options.createProjects,
          sparseIndex: options.sparseIndex,
          referrers: options.referrers,
          explain: (error) => explain(error, { projects: [] }),
        })
        .catch(async (error: unknown) => {
          throw error instanceof AirgapError ? await explain(error, { projects: [] }) : error
        })
      const reached = { ...parsed, origin: await client.originOf(parsed.registry) }
      const made = { opened, plan, target: reached, memory }
      return await work(made, { ...engine, explain: (error) => explain(error, plan) })
    })
  } finally {
    await opened.reader.close()
  }
}

function selection(
  include: readonly string[] = [],
  exclude: readonly string[] = [],
): (image: ImageEntry) => boolean {
  const included = include.map((text) => parsePattern(text))
  const excluded = exclude.map((text) => parsePattern(text))
  return ({ source }) => {
    const reference = parseReference(source)
    if (excluded.some((pattern) => pattern(reference))) return false
    return included.length === 0 || included.some((pattern) => pattern(reference))
  }
}

/** Runs work, and remembers its unfinished uploads if requested. */
async function remembering<T>(
  directory: string | false | undefined,
  { bundleDigest }: OpenedBundle,
  origin: string,
  { onEvent }: PushRun,
  work: (uploads: UploadState | undefined) => Promise<T>,
): Promise<T> {
  const { defaultStateFolder } = await import('../registry/blobs/uploads/state/folder.ts')
  const folder = directory ?? defaultStateFolder(process.env)
  if (folder === undefined || folder === false) return work(undefined)
  const { UploadState } = await import('../registry/blobs/uploads/state/state.ts')
  const uploads = await UploadState.open({
    folder: resolve(folder),
    bundleDigest,
    origin,
    onNotice: (notice) => onEvent?.({ type: 'registry', notice }),
  })
  let isComplete = false
  try {
    const result = await work(uploads)
    isComplete = true
    return result
  } finally {
    await uploads.close(isComplete)
  }
}
