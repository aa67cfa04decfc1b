import { Args } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import type { BundleDescription } from '../index.ts'
import { shellWord } from '../text.ts'
import { evidenceOf, highlightOf, renderEvidence } from '../cli/output/render-evidence.ts'
import type { Evidence } from '../cli/output/shapes/evidence.ts'

export default class Inspect extends BaseCommand {
  static override description =
    'Show what is in a bundle, without verifying it\nReads the descriptions and the headers, but not the layers, and checks that they agree. It checks no signature and hashes no layer; `verify` does that.'

  static override examples = [
    {
      description: 'What a bundle says it contains',
      command: '<%= config.bin %> <%= command.id %> k8s.tar',
    },
  ]

  static override args = {
    bundle: Args.string({ description: 'The bundle file', required: true, ignoreStdin: true }),
  }

  async run(): Promise<Evidence> {
    const { args } = await this.parse(Inspect)
    const { inspect } = await import('../index.ts')
    const { opened, error } = await inspect(args.bundle)
    const show = (description: BundleDescription): Evidence => {
      const evidence = evidenceOf(opened, description, false)
      this.print(renderEvidence(evidence, { details: true }), highlightOf(evidence))
      return evidence
    }
    if (error) {
      if (opened.description) show(opened.description)
      throw error
    }
    const evidence = show(opened.description)
    this.printNext(`airgap verify ${shellWord(args.bundle)} --key PUB`)
    return evidence
  }
}
