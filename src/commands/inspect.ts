import { Args } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { shellWord } from '../text.ts'
import { evidenceOf, highlightOf, renderEvidence } from '../cli/output/render-evidence.ts'
import type { Evidence } from '../cli/output/shapes/evidence.ts'

export default class Inspect extends BaseCommand {
  static override description =
    'Show what is in a bundle, without trusting it\nReads the descriptions and the headers, not the layers, and checks that they agree with each other. No signature is checked and no layer is hashed: that is what `verify` does.'

  static override examples = [
    {
      description: 'What a bundle says that it holds',
      command: '<%= config.bin %> <%= command.id %> k8s.tar',
    },
  ]

  static override args = {
    bundle: Args.string({ description: 'The bundle file', required: true, ignoreStdin: true }),
  }

  async run(): Promise<Evidence> {
    const { args } = await this.parse(Inspect)
    const { openBundle } = await import('../verify/open.ts')
    const opened = await openBundle(args.bundle, { keys: [], unauthenticated: true, now: Number.NaN })
    try {
      const evidence = opened.description && evidenceOf(opened, opened.description, false)
      if (evidence) this.print(renderEvidence(evidence, { details: true }), highlightOf(evidence))
      if (opened.problems.length > 0 || !evidence) {
        const { verificationError } = await import('../verify/content.ts')
        throw verificationError(args.bundle, opened)
      }
      this.printNext(`airgap verify ${shellWord(args.bundle)} --key PUB`)
      return evidence
    } finally {
      await opened.reader.close()
    }
  }
}
