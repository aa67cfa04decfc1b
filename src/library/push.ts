import { parsePattern } from '../oci/pattern.ts'
import { parseReference } from '../oci/reference.ts'
import type { ImageEntry } from '../bundle/description.ts'
import type { OpenedBundle } from '../transfer/check/opened-bundle.ts'
import type { NameMap } from '../transfer/push/names.ts'
import type { PushPlan } from '../transfer/push/plan.ts'
import type { Receipt } from '../transfer/push/receipt.ts'
import { shared, withClient, type NetworkOptions } from './run.ts'
import { readTrust, type Trust } from './trust.ts'

export interface PushOptions extends Trust, NetworkOptions {
  /** Keep the source's registry as a part of the path, or leave it out; `full` where left out. */
  path?: 'full' | 'strip-host' | undefined
  /** `FROM=TO`: names that begin with FROM begin with TO in the target; the longest FROM wins. */
  maps?: readonly (string | NameMap)[] | undefined
  /** Patterns of the images to push; all where left out. */
  include?: readonly string[] | undefined
  exclude?: readonly string[] | undefined
  /** Let tags move that point to another digest now. */
  moveTags?: boolean | undefined
  /** Read the target's blobs back and hash them before tags are set. */
  verifyTarget?: boolean | undefined
  /** The bundle is authentic and consistent, and nothing was asked of a registry yet; throw to go no further. */
  onOpened?: ((opened: OpenedBundle) => Promise<void>) | undefined
  /** The push has broken off when tags were set: the record of which. */
  onIncomplete?: ((receipt: Receipt) => Promise<void>) | undefined
}

/** A push that was planned and not executed. */
export interface PlannedPush {
  opened: OpenedBundle
  plan: PushPlan
  target: Receipt['target']
}

/**
 * Verifies a bundle and puts it into a registry: blobs first, manifests behind them, tags last. Only what the
 * registry lacks is sent.
 *
 * @param target `REGISTRY` or `REGISTRY/PREFIX`
 * @returns the receipt: every image, blob and tag, and what was done with it.
 * @throws AirgapError `VERIFICATION_FAILED` before any tag is set; `NAME_CONFLICT`, `INVALID_TARGET_NAME`,
 *   `TAG_WOULD_MOVE` before anything is sent; `USAGE`, and those of registries.
 */
export async function push(path: string, target: string, options: PushOptions): Promise<Receipt> {
  return working(path, target, options, async ({ opened, plan, target: reached }, common) => {
    const { executePush } = await import('../transfer/push/push.ts')
    const { PushRecord } = await import('../transfer/push/record.ts')
    const record = new PushRecord(opened, plan, reached)
    try {
      return await executePush(opened, plan, record, {
        ...common,
        moveTags: options.moveTags ?? false,
        verifyTarget: options.verifyTarget ?? false,
      })
    } catch (error) {
      if (record.hasSetTags) await options.onIncomplete?.(record.receipt(false))
      throw error
    }
  })
}

/**
 * What {@link push} would do. The bundle is verified completely; nothing is sent.
 * @throws AirgapError as {@link push}
 */
export async function planPush(path: string, target: string, options: PushOptions): Promise<PlannedPush> {
  return working(path, target, options, async (planned, common) => {
    const { contentEntries, requireContent } = await import('../transfer/check/verify.ts')
    // The real run hashes everything before it sets a tag, so its plan says whether that will do.
    await requireContent(planned.opened, contentEntries(planned.opened), common)
    return planned
  })
}

type Common = ReturnType<typeof shared> & { client: Parameters<Parameters<typeof withClient>[1]>[0] }

async function working<T>(
  path: string,
  target: string,
  options: PushOptions,
  work: (planned: PlannedPush, common: Common) => Promise<T>,
): Promise<T> {
  const { parseNameMap, parseTarget } = await import('../transfer/push/names.ts')
  const parsed = parseTarget(target)
  const maps = (options.maps ?? []).map((map) => (typeof map === 'string' ? parseNameMap(map) : map))
  const select = selection(options.include, options.exclude)
  const trust = await readTrust(options)
  const { openBundle } = await import('../transfer/check/open.ts')
  const { verificationError } = await import('../transfer/check/verify.ts')
  const plans = await import('../transfer/push/plan.ts')
  options.signal?.throwIfAborted()
  const opened = await openBundle(path, trust)
  try {
    if (opened.problems.length > 0 || !opened.description) throw verificationError(path, opened)
    await options.onOpened?.(opened)
    return await withClient(options, async (client) => {
      const common = { ...shared(options), client }
      const plan = await plans.planPush(opened, {
        ...common,
        target: parsed,
        path: options.path ?? 'full',
        maps,
        select,
        moveTags: options.moveTags ?? false,
      })
      const reached = { ...parsed, origin: await client.originOf(parsed.registry) }
      return await work({ opened, plan, target: reached }, common)
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
