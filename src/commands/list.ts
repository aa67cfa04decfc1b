import { BaseCommand } from '../cli/base-command.ts'
import { withConfig } from '../cli/input/config.ts'
import { imageArgs, inputFlags } from '../cli/input/flags.ts'
import { imagesOf } from '../cli/input/inputs.ts'
import { formatReference } from '../oci/reference.ts'
import type { ListResult } from '../cli/output/shapes/results.ts'

export default class List extends BaseCommand {
  static override description =
    'Print the image references that the inputs name\nReferences are fully qualified, sorted, without duplicates, one per line. No registry is contacted. --images-from can read the output.'

  static override examples = [
    {
      description: 'Short names, made complete',
      command: '<%= config.bin %> <%= command.id %> nginx:1.29 ghcr.io/example/app:1.0',
    },
    {
      description: "kubeadm's images for a Kubernetes release",
      command: '<%= config.bin %> <%= command.id %> --kubeadm v1.36.3',
    },
    {
      description: 'The same, from kubeadm itself',
      command:
        'kubeadm config images list --kubernetes-version $(kubeadm version -o short) | <%= config.bin %> <%= command.id %> --images-from -',
    },
    {
      description: 'The images of a config',
      command: '<%= config.bin %> <%= command.id %> --config airgap.yaml',
    },
    {
      description: 'A list, without the images that match a pattern',
      command: "<%= config.bin %> <%= command.id %> --images-from images.txt --exclude 'docker.io/library/*'",
    },
  ]

  static override args = imageArgs

  static override flags = { ...inputFlags }

  async run(): Promise<ListResult> {
    const { args, flags } = await withConfig(await this.parse(List), (message) => this.note(message))
    const images = await imagesOf(args.image ?? [], flags, (message) => this.warning(message))
    const listed = images.map(({ reference, from }) => ({ source: formatReference(reference), from }))
    this.print(listed.map(({ source }) => source).join('\n'))
    return { images: listed }
  }
}
