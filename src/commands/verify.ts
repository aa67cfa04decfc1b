import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { trustFlags } from '../cli/flags.ts'
import { Progress } from '../cli/progress.ts'
import { evidenceOf, highlightOf, renderEvidence } from '../cli/render-evidence.ts'
import type { Evidence } from '../cli/shapes/evidence.ts'
import { trustFrom } from '../cli/trust.ts'
import { upstreamFlags, upstreamFrom } from '../cli/upstream.ts'

export default class Verify extends BaseCommand {
  static override description =
    'Verify a bundle completely, offline\nChecks the signature with the key given, then that the archive holds exactly what is signed, that its descriptions agree, and that every byte is unaltered. All problems are reported together. Nothing inside the bundle is a source of trust, and nothing is asked of any network.'

  static override examples = [
    {
      description: 'Signed with that key, complete and unaltered',
      command: '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub',
    },
    {
      description: 'And no older than what was approved before',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub --expect-name k8s.tar --min-sequence 42',
    },
    {
      description: "And that Kubernetes' images are signed by Kubernetes",
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub --upstream-policy kubernetes --trusted-root trusted_root.json',
    },
    {
      description: 'Without a key: complete and unaltered, but whose it is nobody knows',
      command: '<%= config.bin %> <%= command.id %> k8s.tar --integrity-only',
    },
  ]

  static override args = {
    bundle: Args.string({ description: 'The bundle file', required: true, ignoreStdin: true }),
  }

  static override flags = {
    ...trustFlags,
    'integrity-only': Flags.boolean({
      description: 'Check that the bundle is complete and unaltered, but not who made it',
      helpGroup: 'TRUST',
    }),
    ...upstreamFlags,
  }

  async run(): Promise<Evidence> {
    const { args, flags } = await this.parse(Verify)
    const trust = trustFrom(flags, { flag: '--integrity-only', isSet: flags['integrity-only'] })
    const upstream = upstreamFrom(flags)
    const { verify } = await import('../library/verify.ts')
    const progress = new Progress()
    try {
      const opened = await verify(args.bundle, {
        ...trust,
        trustedRoot: flags['trusted-root'],
        upstream,
        onEvent: await progress.start(),
        signal: this.signal,
      })
      progress.stop()
      const evidence = evidenceOf(opened, opened.description, true)
      this.print(renderEvidence(evidence), highlightOf(evidence))
      return evidence
    } finally {
      progress.stop()
    }
  }
}
