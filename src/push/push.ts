import type { ImageEntry } from '../bundle/description.ts'
import type { ReferrerChoice } from '../oci/manifest.ts'
import { AirgapError } from '../errors.ts'
import { parsePattern } from '../oci/pattern.ts'
import { parseReference } from '../oci/reference.ts'
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
  /** Keep the source's registry as a part of the path, leave it out, or make one part of all; `full` where left out. */
  path?: PathStyle | undefined
  /** `FROM=TO`: names that begin with FROM begin with TO in the target; the longest FROM wins. */
  maps?: readonly string[] | undefined
  /** Patterns of the images to push (`registry.k8s.io/*`); all where left out. */
  include?: readonly string[] | undefined
  /** Patterns of images not to push. */
  exclude?: readonly string[] | undefined
  /** Create projects that are missing in a Harbor, so or so visible, before anything is sent. */
  createProjects?: 'private' | 'public' | undefined
  /**
   * Also put the source's own index of images of which the bundle has only some platforms, so that workloads that pin
   * its digest find it. Not every registry takes one.
   */
  sparseIndex?: boolean | undefined
  /**
   * Sign every manifest and index of what is pushed, before it is tagged, so that a cluster can tell what came through
   * this check. The key is one of its own, held inside: never one that bundles are signed with. Excludes
   * `unauthenticated`. What has a good signature by this key gets no other one.
   */
  signImages?: ImageSigningOptions | undefined
  /**
   * What is put of all that travels along with the images: signatures, attestations, SBOMs. `all` where left out. Only
   * what refers to something that is delivered can be put; the receipt says what became of each.
   */
  referrers?: ReferrerChoice | undefined
  /** Verify upstreams' signatures of the images that are pushed, from what the bundle holds, before anything is asked. */
  upstream?: UpstreamCheckOptions | undefined
  /**
   * Where unfinished uploads of large blobs are remembered, so that the same push goes on with them after it was
   * killed; false remembers nothing. Where left out: `airgap/uploads` in `$XDG_STATE_HOME` or `~/.local/state`.
   */
  stateDirectory?: string | false | undefined
  /** The bundle is authentic and consistent, and nothing was asked of a registry yet; throw to go no further. */
  onOpened?: ((opened: OpenedBundle) => void | Promise<void>) | undefined
  /**
   * The push is `INCOMPLETE`, or has broken off or was called off when tags had been set: the receipt of what was done,
   * with `complete` false. What it throws takes the place of the error.
   */
  onIncomplete?: ((receipt: Receipt) => void | Promise<void>) | undefined
}

/**
 * Verifies a bundle and puts it into a registry: blobs first, manifests behind them, tags last. Only what the
 * registry lacks is sent. After a failure, the same call goes on where this one ended.
 *
 * `onReport` is told of a push that has come to a receipt, complete or not, behind `onIncomplete`; and of a bundle that is
 * refused.
 *
 * @param target `REGISTRY` or `REGISTRY/PREFIX`
 * @returns the receipt: every image, blob and tag, and what was done with it.
 * @throws AirgapError `INCOMPLETE` when some images could not be pushed completely: these have got no tags, the others
 *   are in place, and `problems` has each with its own code; or when everything is in its place but a source index or
 *   something that refers to images, which the registry refuses. `VERIFICATION_FAILED` before any tag is set; `NAME_CONFLICT`, `INVALID_TARGET_NAME`,
 *   `TAG_WOULD_MOVE` before anything is sent; `USAGE`, `FILE`, `INVALID_KEY`, `INVALID_DIGEST`, and those of
 *   registries. The signal's reason.
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
                beforeTags: () => memory.record(rememberedTarget(reached), run.signal),
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
 * What {@link push} would do. The bundle is verified completely; nothing is sent.
 * @throws AirgapError as {@link push}
 */
export async function planPush(path: string, target: string, options: PushOptions): Promise<PlannedPush> {
  return running(options, (run) =>
    planned(path, target, { ...options, isPlan: true }, run, async (made, engine) => {
      const { opened, plan, target: reached, memory } = made
      const { contentEntries, requireContent } = await import('../verify/content.ts')
      const { describePlan } = await import('./planned-push.ts')
      // The real run hashes everything before it sets a tag, so its plan says whether that will do.
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

/** Opens a bundle and plans its push, for as long as `work` takes. */
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
      target: rememberedTarget(parsed),
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
        .planPush(opened, {
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

/** A target as the memory of sequences has it. */
function rememberedTarget({ registry, prefix }: { registry: string; prefix: string }): string {
  return [registry, prefix].filter(Boolean).join('/')
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

/** Does the work with a memory of its uploads, where one is wanted. */
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
