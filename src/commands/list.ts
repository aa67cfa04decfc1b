import { BaseCommand } from '../cli/base-command.ts'
import { withConfig } from '../cli/input/config.ts'
import { imageArgs, inputFlags } from '../cli/input/flags.ts'
import { imagesOf } from '../cli/input/inputs.ts'
import { formatReference } from '../oci/reference.ts'
import type { ListResult } from '../cli/output/shapes/results.ts'

export default class List extends BaseCommand {
  static override description =
    'Print the image references that the inputs name\nFully qualified, sorted, each once, one a line. Nothing is asked of any registry. The output is itself a list that --images-from reads.'

  static override examples = [
    {
      description: 'Names as people write them, made complete',
      command: '<%= config.bin %> <%= command.id %> nginx:1.29 ghcr.io/example/app:1.0',
    },
    {
      description: "kubeadm's own images for a release of Kubernetes",
      command: '<%= config.bin %> <%= command.id %> --kubeadm v1.36.3',
    },
    {
      description: 'The same from kubeadm itself',
      command:
        'kubeadm config images list --kubernetes-version $(kubeadm version -o short) | <%= config.bin %> <%= command.id %> --images-from -',
    },
    {
      description: 'What a config names',
      command: '<%= config.bin %> <%= command.id %> --config airgap.yaml',
    },
    {
      description: 'A list, without what comes from elsewhere',
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
