import { basename } from 'node:path'
import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { withConfig } from '../cli/input/config.ts'
import { imageArgs, outputForceFlag, resolvingFlags, signingFlags } from '../cli/input/flags.ts'
import {
  keylessFlags,
  keylessFrom,
  openPlannedSigner,
  openSigner,
  publicKeyFile,
} from '../cli/input/signer.ts'
import { descriptionFrom, imagesOf, sourcesFrom } from '../cli/input/inputs.ts'
import { Progress } from '../cli/output/progress.ts'
import { afterPacking, packResult, renderPack, withUnfinished } from '../cli/output/render-pack.ts'
import { skippedWarning } from '../cli/output/render-images.ts'
import type { PackResult } from '../cli/output/shapes/pack.ts'
import { compareLock } from '../cli/words/stale-lock.ts'
import { verifyUpstreamFlags, verifyUpstreamFrom } from '../cli/input/upstream.ts'
import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'
import type { UnfinishedPack, Lock } from '../index.ts'
import { parsePattern } from '../oci/pattern.ts'
import { parseReference } from '../oci/reference.ts'

const MAX_LOCK_SIZE = 64 * 1024 * 1024

export default class Pack extends BaseCommand {
  static override description =
    'Fetch images and write them as one signed bundle\nResolves the images (or uses a lock), fetches each blob once, hashes it on arrival, and writes it straight to its place in the bundle. The file is called FILE.partial until it is complete, checked and synced; after an interruption, the same command resumes it. With -o - the bundle goes to standard output.\n--keyless signs once all blobs are fetched, with a short-lived key that Sigstore certifies for the identity token of the CI job. The certificate, which contains the identity, and the SHA-256 of SHA256SUMS then stay in public logs forever. If the token has expired by then, everything fetched is kept; run the same command with a fresh token, and it only signs.'

  static override examples = [
    {
      description: "kubeadm's images, for one platform",
      command:
        '<%= config.bin %> <%= command.id %> --kubeadm v1.36.3 --platform linux/amd64 -o k8s.tar --key airgap.key',
    },
    {
      description: 'A list of images, for all their platforms',
      command:
        '<%= config.bin %> <%= command.id %> --images-from images.txt -o apps.tar --key airgap.key --name apps',
    },
    {
      description: 'From a config that is kept in git',
      command: '<%= config.bin %> <%= command.id %> --config airgap.yaml -o apps.tar --key airgap.key',
    },
    {
      description: 'Exactly what a lock pins',
      command: '<%= config.bin %> <%= command.id %> --lock airgap.lock -o apps.tar --key airgap.key',
    },
    {
      description: 'The next version, without fetching again what an earlier bundle has',
      command:
        '<%= config.bin %> <%= command.id %> --images-from images.txt -o apps-2.tar --key airgap.key --reuse apps.tar',
    },
    {
      description: 'Signed by a program, with a key in an HSM',
      command:
        '<%= config.bin %> <%= command.id %> --lock airgap.lock -o apps.tar --public-key hsm.pub --sign-command /opt/hsm/sign',
    },
    {
      description: 'In a CI job, signed as that job instead of with a key; this is logged in public',
      command:
        '<%= config.bin %> <%= command.id %> --images-from images.txt -o apps.tar --keyless --trusted-root trusted_root.json',
    },
    {
      description: 'With proof of who signed the Kubernetes images',
      command:
        '<%= config.bin %> <%= command.id %> --kubeadm v1.36.3 -o k8s.tar --key airgap.key --verify-upstream kubernetes --trusted-root trusted_root.json',
    },
    {
      description: 'Straight to another host, unsigned',
      command: '<%= config.bin %> <%= command.id %> nginx:1.29 -o - --no-sign | ssh host "cat > nginx.tar"',
    },
  ]

  static override args = imageArgs

  static override flags = {
    output: Flags.string({
      char: 'o',
      required: true,
      description: 'The bundle file; - is standard output',
      helpValue: 'FILE',
      helpGroup: 'OUTPUT',
    }),
    ...outputForceFlag,
    fresh: Flags.boolean({
      description: 'Start from scratch instead of resuming an interrupted run',
      helpGroup: 'OUTPUT',
    }),
    ...signingFlags,
    ...keylessFlags,
    'no-sign': Flags.boolean({ description: 'Leave the bundle unsigned', helpGroup: 'SIGNING' }),
    name: Flags.string({
      description:
        "The bundle's name, for which push remembers the last sequence; by default that of the --reuse bundle, else that of the output without extension and trailing number, version or date",
      helpValue: 'NAME',
      helpGroup: 'OUTPUT',
    }),
    'bundle-version': Flags.string({
      description: 'Version to show, free text',
      helpValue: 'TEXT',
      helpGroup: 'OUTPUT',
    }),
    sequence: Flags.integer({
      description: 'Number that grows with every bundle of this name; by default the time',
      min: 0,
      helpValue: 'NUMBER',
      helpGroup: 'OUTPUT',
    }),
    expires: Flags.string({
      description: 'When the bundle is no longer accepted',
      helpValue: 'DATE',
      helpGroup: 'OUTPUT',
    }),
    lock: Flags.string({
      description: 'Pack exactly what this lock pins',
      helpValue: 'FILE',
      helpGroup: 'INPUT',
    }),
    reuse: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'Earlier bundle, finished or not, to take blobs from instead of fetching them',
      helpValue: 'BUNDLE',
      helpGroup: 'INPUT',
    }),
    'dry-run': Flags.boolean({
      default: false,
      description: 'Print the plan with its exact size; fetches only manifests',
      helpGroup: 'OUTPUT',
    }),
    ...verifyUpstreamFlags,
    ...resolvingFlags,
  }

  async run(): Promise<PackResult> {
    const { args, flags } = await withConfig(await this.parse(Pack), (message) => this.note(message))
    this.#checkUsage(flags, args.image ?? [])
    const toStandardOutput = flags.output === '-'
    const warn = (message: string): void => this.warning(message)
    const description = descriptionFrom(flags, process.env)
    const keyless = keylessFrom(flags)
    const verifyUpstream = verifyUpstreamFrom(flags)
    const { key, isUnopened } = flags['dry-run']
      ? await openPlannedSigner(flags)
      : { key: await openSigner(flags), isUnopened: false }
    for (const message of key?.warnings ?? []) warn(message)
    const what =
      flags.lock === undefined
        ? { images: await imagesOf(args.image ?? [], flags, warn) }
        : { lock: await this.#readLock(flags.lock, flags.exclude ?? []) }
    if (what.lock) await compareLock(what.lock, flags, warn)
    const { pack } = await import('../index.ts')

    const progress = new Progress()
    let unfinished: UnfinishedPack | undefined
    try {
      const onEvent = progress.onEvent
      const packed = await pack({
        ...what,
        ...sourcesFrom(flags),
        ...description,
        output: flags['dry-run'] ? undefined : toStandardOutput ? process.stdout : flags.output,
        // A plan also shows the name that the bundle would get.
        fileName: toStandardOutput ? undefined : flags.output,
        force: flags.force,
        key: key ?? (keyless ? { keyless } : 'unsigned'),
        verifyUpstream,
        fresh: flags.fresh,
        reuse: flags.reuse,
        onIncomplete: (left) => void (unfinished = left),
        signal: this.signal,
        // The result of a plan has the mirrors.
        onEvent: flags['dry-run'] ? (event) => event.type !== 'mirrors' && onEvent(event) : onEvent,
      })
      progress.stop()
      const result = packResult(packed, {
        file: flags.output,
        isDryRun: flags['dry-run'],
        key: isUnopened ? undefined : key,
      })
      const text = renderPack(result, isUnopened ? flags.key : undefined)
      if (toStandardOutput) this.note(text)
      else this.print(text)
      const next = afterPacking(result, publicKeyFile(flags))
      if (next !== undefined) this.printNext(next)
      const lacking = skippedWarning(toStandardOutput ? undefined : basename(flags.output), result.skipped)
      if (lacking !== undefined) this.warning(lacking)
      return result
    } catch (error) {
      throw withUnfinished(error, unfinished)
    } finally {
      progress.stop()
    }
  }

  #checkUsage(
    flags: {
      output: string
      key?: string | undefined
      'sign-command'?: string | undefined
      keyless: boolean
      'no-sign': boolean
      lock?: string | undefined
      kubeadm?: string[] | undefined
      'images-from'?: string[] | undefined
      platform?: string[] | undefined
      'rewrite-digests': boolean
      'allow-missing-platform': boolean
      'allow-missing-attestations': boolean
      'skip-failed': boolean
      referrers?: string | undefined
    },
    images: readonly string[],
  ): void {
    if (flags.output === '-' && this.jsonEnabled()) {
      throw new AirgapError('USAGE', '-o - and --json both write to standard output')
    }
    if (flags.output === '-' && process.stdout.isTTY) {
      throw new AirgapError('USAGE', '-o - would write the bundle to the terminal', {
        hint: 'Pipe it, or name a file.',
      })
    }
    if (flags.output === '-' && flags.keyless) {
      throw new AirgapError('USAGE', '--keyless cannot sign a bundle that goes to standard output', {
        hint: 'The signature is made after all blobs are fetched, but precedes them in the bundle. Pack into a file, then send that.',
      })
    }
    const isSigned = flags.key !== undefined || flags['sign-command'] !== undefined || flags.keyless
    if (!isSigned && !flags['no-sign']) {
      throw new AirgapError(
        'USAGE',
        'give one of --key FILE, --sign-command COMMAND, --keyless and --no-sign',
        {
          hint: '--key and --sign-command sign the bundle, so that others can check who made it (`airgap keygen` makes a key pair). In CI, --keyless signs without a key. With --no-sign nobody can check who made it, and push needs --allow-unsigned.',
        },
      )
    }
    if (flags.lock === undefined) return
    const others = [
      ...(images.length > 0 ? ['image arguments'] : []),
      ...(['images-from', 'kubeadm', 'platform'] as const)
        .filter((name) => (flags[name]?.length ?? 0) > 0)
        .map((name) => `--${name}`),
      ...(['rewrite-digests', 'allow-missing-platform', 'allow-missing-attestations', 'skip-failed'] as const)
        .filter((name) => flags[name])
        .map((name) => `--${name}`),
      ...(flags.referrers === undefined ? [] : ['--referrers']),
    ]
    if (others.length > 0) {
      throw new AirgapError(
        'USAGE',
        `--lock already says which images and platforms to pack; ${others.join(', ')} cannot be given with it`,
        {
          hint: 'To change what is packed, make a new lock with `airgap resolve`.',
        },
      )
    }
  }

  async #readLock(file: string, exclude: readonly string[]): Promise<Lock> {
    const { parseLock } = await import('../index.ts')
    const lock = parseLock(await readSmallFile(file, MAX_LOCK_SIZE), file)
    const patterns = exclude.map((text) => parsePattern(text))
    const isWanted = ({ source }: { source: string }): boolean =>
      !patterns.some((pattern) => pattern(parseReference(source)))
    const images = lock.images.filter(isWanted)
    if (images.length === 0) throw new AirgapError('USAGE', 'every image of the lock is excluded')
    // An excluded image does not count as skipped.
    const skipped = lock.skipped?.filter(isWanted) ?? []
    return { ...lock, images, skipped: skipped.length > 0 ? skipped : undefined }
  }
}
