import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { withConfig } from '../cli/input/config.ts'
import { paragraphs } from '../cli/output/format.ts'
import { shellWord } from '../text.ts'
import { imageArgs, imagesFlag, outputForceFlag, resolvingFlags } from '../cli/input/flags.ts'
import { imagesOf, sourcesFrom } from '../cli/input/inputs.ts'
import { Progress } from '../cli/output/progress.ts'
import {
  countImages,
  listImages,
  renderImages,
  renderSkipped,
  skippedWarning,
} from '../cli/output/render-images.ts'
import { AirgapError } from '../errors.ts'
import { OutputFile } from '../files/output-file.ts'
import type { Lock } from '../index.ts'

export default class Resolve extends BaseCommand {
  static override description =
    'Pin image references to digests\nFetches the manifests of every image from its registry, and prints the digest, platforms and size that a bundle would have. With -o the result is written as a lock, which `pack --lock` packs without resolving anything again.'

  static override examples = [
    {
      description: 'What a tag points to now',
      command: '<%= config.bin %> <%= command.id %> nginx:1.29 --platform linux/amd64',
    },
    {
      description: 'Write the digests to a lock, to pack exactly these',
      command:
        '<%= config.bin %> <%= command.id %> --kubeadm v1.36.3 --platform linux/amd64 --platform linux/arm64 -o airgap.lock',
    },
    {
      description: 'The same for the images of a config',
      command: '<%= config.bin %> <%= command.id %> --config airgap.yaml -o airgap.lock',
    },
  ]

  static override args = imageArgs

  static override flags = {
    output: Flags.string({
      char: 'o',
      description: 'Write the lock here; - is standard output',
      helpValue: 'FILE',
      helpGroup: 'OUTPUT',
    }),
    ...outputForceFlag,
    ...imagesFlag,
    ...resolvingFlags,
  }

  async run(): Promise<Lock> {
    const { args, flags } = await withConfig(await this.parse(Resolve), (message) => this.note(message))
    const toStandardOutput = flags.output === '-'
    if (toStandardOutput && this.jsonEnabled()) {
      throw new AirgapError('USAGE', '-o - and --json both write to standard output', {
        hint: 'The lock is JSON already: use either one.',
      })
    }
    const images = await imagesOf(args.image ?? [], flags, (message) => this.warning(message))
    const { resolve, serializeLock } = await import('../index.ts')

    const progress = new Progress()
    const onEvent = progress.onEvent
    // From here on, Ctrl-C must clean up.
    const { signal } = this
    const output =
      flags.output === undefined || toStandardOutput
        ? undefined
        : await OutputFile.reserve(flags.output, { force: flags.force })
    try {
      const lock = await resolve({ ...sourcesFrom(flags), images, signal, onEvent })
      progress.stop()
      const bytes = serializeLock(lock)
      if (output) {
        await output.write(bytes, 0)
        await output.commit()
      }
      if (toStandardOutput) process.stdout.write(bytes)
      else {
        // The lock has the digests.
        const isBrief = output !== undefined && !flags.images
        const images = isBrief ? listImages(lock.images) : renderImages(lock.images)
        this.print(paragraphs(images, renderSkipped(lock.skipped)))
      }
      if (output && flags.output !== undefined) {
        this.note(`Pinned ${countImages(lock.images)} in ${flags.output}`)
        this.note(`Next: airgap pack --lock ${shellWord(flags.output)} -o FILE --key KEY`)
      }
      const lacking = skippedWarning(flags.output, lock.skipped)
      if (lacking !== undefined) this.warning(lacking)
      return lock
    } catch (error) {
      await output?.discard()
      throw error
    } finally {
      progress.stop()
    }
  }
}
