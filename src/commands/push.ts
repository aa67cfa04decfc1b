import { existsSync } from 'node:fs'
import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import {
  concurrencyFlag,
  imagesFlag,
  imageSigningFlags,
  registryFlags,
  reportFlag,
  stateFlag,
  trustFlags,
} from '../cli/input/flags.ts'
import { shellWord } from '../text.ts'
import { imageSigningFrom, publicKeyFile } from '../cli/input/signer.ts'
import { Progress } from '../cli/output/progress.ts'
import { PushRecords } from '../cli/output/receipts.ts'
import { pressureOptions, registryOptions } from '../cli/input/registries.ts'
import { afterPush, planDocument, renderPushPlan, renderReceipt } from '../cli/output/render-push.ts'
import type { PushResult } from '../cli/output/shapes/push.ts'
import { reportedCommand } from '../cli/output/reports.ts'
import { openDocumentKey } from '../cli/output/signed-document.ts'
import { trustFrom } from '../cli/input/trust.ts'
import { upstreamFlags, upstreamFrom } from '../cli/input/upstream.ts'
import { AirgapError } from '../errors.ts'
import { parsePattern } from '../oci/pattern.ts'
import { nameOf, parseReference } from '../oci/reference.ts'
import { REFERRER_CHOICES } from '../oci/manifest.ts'
import { isAllTagged, type ImageEntry, type PushOptions, type NameMap, type OpenedBundle } from '../index.ts'

export default class Push extends BaseCommand {
  static override description =
    'Verify a bundle and push it to a private registry\nVerifies the bundle and plans everything before sending anything. Uploads the blobs that the registry lacks, then manifests, children before parents. Tags are set last, after every byte of the bundle has been checked, and each is read back. Pushing the same bundle again uploads nothing.'

  static override examples = [
    {
      description: 'To a registry, under full names',
      command: '<%= config.bin %> <%= command.id %> k8s.tar registry.internal:5000 --key airgap.pub',
    },
    {
      description: 'Show what would happen, without sending anything',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar harbor.internal/mirror --key airgap.pub --ca-file ca.crt --dry-run',
    },
    {
      description: 'To a Harbor whose projects do not exist yet',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar harbor.internal --key airgap.pub --create-projects',
    },
    {
      description: 'To a registry that allows few path components',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar gitlab.internal:5050/group/project --key airgap.pub --path flat',
    },
    {
      description: 'And sign the images for the cluster, with a key that is kept inside',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar harbor.internal/mirror --key airgap.pub --sign-images cluster.key',
    },
    {
      description: 'Under names of your own',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar harbor.internal --key airgap.pub --map registry.k8s.io/coredns=k8s --map registry.k8s.io=k8s',
    },
  ]

  static override args = {
    bundle: Args.string({ description: 'The bundle file', required: true, ignoreStdin: true }),
    registry: Args.string({ description: 'REGISTRY or REGISTRY/PREFIX', required: true, ignoreStdin: true }),
  }

  static override flags = {
    path: Flags.option({
      options: ['full', 'strip-host', 'flat'] as const,
      default: 'full',
      description: 'Keep the source registry in the path, leave it out, or make the whole name one component',
    })(),
    map: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'Names that begin with FROM begin with TO in the target; the longest FROM wins',
      helpValue: 'FROM=TO',
    }),
    include: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'Push only images that match; * matches any characters',
      helpValue: 'PATTERN',
    }),
    exclude: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'Leave out images that match',
      helpValue: 'PATTERN',
    }),
    'move-tags': Flags.boolean({ description: 'Allow moving tags that point to another digest' }),
    'create-projects': Flags.boolean({
      description: 'Create missing projects in Harbor before sending anything',
    }),
    'project-visibility': Flags.option({
      options: ['private', 'public'] as const,
      dependsOn: ['create-projects'],
      description: 'Visibility of the created projects; private by default',
    })(),
    'sparse-index': Flags.boolean({
      description:
        "Also push the source's index of images that have only some of its platforms, for workloads that pin its digest",
    }),
    referrers: Flags.option({
      options: REFERRER_CHOICES,
      description: 'Which of the signatures, attestations and SBOMs in the bundle to push; all by default',
    })(),
    'verify-target': Flags.boolean({
      description: 'Read blobs back from the target and hash them before setting tags',
    }),
    'dry-run': Flags.boolean({ description: 'Print the plan and send nothing' }),
    ...imagesFlag,
    receipt: Flags.string({
      description:
        'File for the receipt; by default a new file in the current folder or, if that is not writable, in airgap/receipts in the state folder',
      helpValue: 'FILE',
      helpGroup: 'RECORD',
    }),
    ...reportFlag,
    'receipt-key': Flags.string({
      description:
        'Private key to sign receipt and report with; writes FILE.sigstore.json and FILE.sig next to each',
      helpValue: 'KEY',
      helpGroup: 'RECORD',
    }),
    'receipt-password-file': Flags.string({
      description: 'File with the password of --receipt-key',
      dependsOn: ['receipt-key'],
      helpValue: 'FILE',
      helpGroup: 'RECORD',
    }),
    'allow-unsigned': Flags.boolean({
      description: 'Push without checking who made the bundle',
      helpGroup: 'TRUST',
    }),
    ...trustFlags,
    ...stateFlag(
      'File that keeps the last sequence of each bundle name and signer, instead of the one in your state folder',
    ),
    'allow-rollback': Flags.boolean({
      description: 'Push a bundle that is older than the last one of its name and signer',
      helpGroup: 'TRUST',
    }),
    ...imageSigningFlags,
    ...upstreamFlags,
    ...registryFlags,
    ...concurrencyFlag,
  }

  async run(): Promise<PushResult> {
    const { args, flags, raw } = await this.parse(Push)
    if (!existsSync(args.bundle) && existsSync(args.registry)) {
      throw new AirgapError(
        'USAGE',
        `${args.registry} is a file and ${args.bundle} is not: give the bundle first, then the registry`,
      )
    }
    const { parseNameMap, planPush, push } = await import('../index.ts')
    const maps = await Promise.all((flags.map ?? []).map((text) => parseNameMap(text)))
    const trust = trustFrom(flags, { flag: '--allow-unsigned', isSet: flags['allow-unsigned'] })

    const warn = (message: string): void => this.warning(message)
    const keyFile = flags['dry-run'] ? undefined : flags['receipt-key']
    const key = await openDocumentKey('receipt', keyFile, flags['receipt-password-file'], warn)
    const signImages = await imageSigningFrom(flags, warn)
    // From here on, Ctrl-C must clean up.
    const { signal } = this
    const records = new PushRecords(flags, key)

    let upstream: OpenedBundle['upstream']
    const progress = new Progress()
    const options: PushOptions = {
      ...trust,
      sequences: flags.state ?? true,
      allowRollback: flags['allow-rollback'],
      upstream: upstreamFrom(flags),
      path: flags.path,
      maps: flags.map,
      include: flags.include,
      exclude: flags.exclude,
      moveTags: flags['move-tags'],
      verifyTarget: flags['verify-target'],
      createProjects: flags['create-projects'] ? (flags['project-visibility'] ?? 'private') : undefined,
      sparseIndex: flags['sparse-index'],
      signImages,
      referrers: flags.referrers,
      registries: registryOptions(flags),
      ...pressureOptions(flags),
      concurrency: flags.concurrency,
      onEvent: progress.onEvent,
      onOpened: async (opened) => {
        const { authentication, description } = opened
        ;({ upstream } = opened)
        if (authentication.state !== 'signed') {
          this.warning('the bundle was not authenticated (--allow-unsigned): it is not known who made it')
        }
        this.#warnOfUnused(description?.images ?? [], flags.include, flags.exclude, maps)
        if (flags['sparse-index'] && description?.images.every((one) => one.digest === one.sourceDigest))
          this.warning(`--sparse-index has no effect: the bundle has every image just as its source does`)
        if (!flags['dry-run']) await records.reserve(description?.name ?? '')
      },
      onIncomplete: async (receipt) => {
        progress.stop()
        const kept = await records.keepIncomplete(receipt)
        this.warning(kept.message)
        // Only source indexes and referrers are missing, so the next steps are the same.
        if (isAllTagged(receipt)) {
          this.print(renderReceipt(receipt, { details: flags.images, receiptFile: kept.file, upstream }))
        }
      },
      reportCommand: reportedCommand('push', raw, { ...BaseCommand.baseFlags, ...Push.flags }),
      onReport: async (report) => {
        progress.stop()
        await records.onReport(report)
      },
    }
    try {
      if (flags['dry-run']) {
        const planned = await planPush(args.bundle, args.registry, { ...options, signal })
        progress.stop()
        const document = planDocument(planned)
        this.print(renderPushPlan(document, { details: flags.images, upstream }))
        const words = this.argv.filter((word) => word !== '--dry-run')
        this.printNext(['airgap', 'push', ...words].map(shellWord).join(' '))
        return document
      }
      await records.reserveReport()
      const receipt = await push(args.bundle, args.registry, { ...options, signal })
      progress.stop()
      const { receiptFile, report } = await records.keep(receipt)
      this.print(renderReceipt(receipt, { details: flags.images, receiptFile, report, upstream }))
      const next = afterPush(receipt, signImages && publicKeyFile({ key: flags['sign-images'] }))
      if (next !== undefined) this.printNext(next)
      return { ...receipt, receiptFile, report }
    } finally {
      progress.stop()
      await records.discard()
    }
  }

  /** Warns of patterns and maps that match nothing: they are most likely mistyped. */
  #warnOfUnused(
    images: readonly ImageEntry[],
    include: readonly string[] = [],
    exclude: readonly string[] = [],
    maps: readonly NameMap[] = [],
  ): void {
    const references = images.map(({ source }) => parseReference(source))
    for (const [flag, texts] of [
      ['--include', include],
      ['--exclude', exclude],
    ] as const) {
      for (const text of texts) {
        if (!references.some(parsePattern(text)))
          this.warning(`${flag} ${text} matches no image of the bundle`)
      }
    }
    for (const { from } of maps) {
      const isUsed = references.some((reference) => `${nameOf(reference)}/`.startsWith(`${from}/`))
      if (!isUsed) this.warning(`--map ${from}=…: no image of the bundle begins with ${from}`)
    }
  }
}
