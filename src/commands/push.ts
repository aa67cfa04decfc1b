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
    'Verify a bundle and put it into a private registry\nVerifies the bundle and plans everything before anything is sent. Uploads what the registry lacks, then manifests, children before parents; tags come last, when every byte of the bundle has been checked, and each is read back. A second push of the same bundle uploads nothing.'

  static override examples = [
    {
      description: 'Into a registry, under full names',
      command: '<%= config.bin %> <%= command.id %> k8s.tar registry.internal:5000 --key airgap.pub',
    },
    {
      description: 'See what would happen, before anything is sent',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar harbor.internal/mirror --key airgap.pub --ca-file ca.crt --dry-run',
    },
    {
      description: 'Into a Harbor whose projects are not there yet',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar harbor.internal --key airgap.pub --create-projects',
    },
    {
      description: 'Into a registry that allows few path parts',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar gitlab.internal:5050/group/project --key airgap.pub --path flat',
    },
    {
      description: 'Signed for the cluster, with a key that is held inside',
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
      description:
        "Keep the source's registry as a part of the path, leave it out, or make one part of the whole name",
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
      description: 'Push only what matches; * stands for any characters',
      helpValue: 'PATTERN',
    }),
    exclude: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'Leave out what matches',
      helpValue: 'PATTERN',
    }),
    'move-tags': Flags.boolean({ description: 'Let tags move that point to another digest now' }),
    'create-projects': Flags.boolean({
      description: 'Create projects that are missing in a Harbor, before anything is sent',
    }),
    'project-visibility': Flags.option({
      options: ['private', 'public'] as const,
      dependsOn: ['create-projects'],
      description: 'Who may pull from the projects that are created; private unless given',
    })(),
    'sparse-index': Flags.boolean({
      description:
        "Also put the source's index of images that are delivered in part, for workloads that pin its digest",
    }),
    referrers: Flags.option({
      options: REFERRER_CHOICES,
      description:
        'What is put of the signatures, attestations and SBOMs that travel along with the images; all unless given',
    })(),
    'verify-target': Flags.boolean({
      description: "Read the target's blobs back and hash them before tags are set",
    }),
    'dry-run': Flags.boolean({ description: 'Print the plan and send nothing' }),
    ...imagesFlag,
    receipt: Flags.string({
      description:
        'Where the receipt goes; by default a new file in the present folder, or in airgap/receipts of the state folder where that cannot be written',
      helpValue: 'FILE',
      helpGroup: 'RECORD',
    }),
    ...reportFlag,
    'receipt-key': Flags.string({
      description: 'Private key to sign receipt and report with: FILE.sigstore.json and FILE.sig beside each',
      helpValue: 'KEY',
      helpGroup: 'RECORD',
    }),
    'receipt-password-file': Flags.string({
      description: "File that holds that key's password",
      dependsOn: ['receipt-key'],
      helpValue: 'FILE',
      helpGroup: 'RECORD',
    }),
    'allow-unsigned': Flags.boolean({
      description: 'Push without knowing who made the bundle',
      helpGroup: 'TRUST',
    }),
    ...trustFlags,
    ...stateFlag(
      'File that remembers the last sequence of each bundle name and signer, instead of the one in your state folder',
    ),
    'allow-rollback': Flags.boolean({
      description: 'Push an older bundle than the last one of its name and signer',
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
        `${args.registry} is a file, and ${args.bundle} is none: the bundle comes first, then the registry`,
      )
    }
    const { parseNameMap, planPush, push } = await import('../index.ts')
    const maps = await Promise.all((flags.map ?? []).map((text) => parseNameMap(text)))
    const trust = trustFrom(flags, { flag: '--allow-unsigned', isSet: flags['allow-unsigned'] })

    const warn = (message: string): void => this.warning(message)
    const keyFile = flags['dry-run'] ? undefined : flags['receipt-key']
    const key = await openDocumentKey('receipt', keyFile, flags['receipt-password-file'], warn)
    const signImages = await imageSigningFrom(flags, warn)
    // From here on there is something to clean up.
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
          this.warning('the bundle was not authenticated (--allow-unsigned): nobody was asked who made it')
        }
        this.#warnOfUnused(description?.images ?? [], flags.include, flags.exclude, maps)
        if (flags['sparse-index'] && description?.images.every((one) => one.digest === one.sourceDigest))
          this.warning(`--sparse-index: every image of the bundle is delivered as its source has it`)
        if (!flags['dry-run']) await records.reserve(description?.name ?? '')
      },
      onIncomplete: async (receipt) => {
        progress.stop()
        const kept = await records.keepIncomplete(receipt)
        this.warning(kept.message)
        // Nothing is missing but source indexes and referrers: what comes next is the same.
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

  /** A pattern or map that means nothing in this bundle is most likely mistyped. */
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
