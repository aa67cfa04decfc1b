import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { imagesFlag, reportFlag, stateFlag, trustFlags } from '../cli/input/flags.ts'
import { shellWord } from '../text.ts'
import { Progress } from '../cli/output/progress.ts'
import {
  keepFailureReport,
  keepReport,
  reportedCommand,
  reserveReport,
  type ReportFile,
} from '../cli/output/reports.ts'
import { evidenceOf, highlightOf, renderEvidence } from '../cli/output/render-evidence.ts'
import type { Evidence } from '../cli/output/shapes/evidence.ts'
import { openDocumentKey } from '../cli/output/signed-document.ts'
import { trustFrom, trustWords } from '../cli/input/trust.ts'
import { upstreamFlags, upstreamFrom } from '../cli/input/upstream.ts'

export default class Verify extends BaseCommand {
  static override description =
    'Verify a bundle completely, offline\nChecks the signature against the given keys, identities or policy, then that the archive holds exactly what was signed, that its descriptions agree, and that every byte is unaltered. All problems are reported together. Nothing inside the bundle is trusted, and no network is used.'

  static override examples = [
    {
      description: 'Signed with this key, complete and unaltered',
      command: '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub',
    },
    {
      description: 'And not older than the last one approved',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub --expect-name k8s --min-sequence 42',
    },
    {
      description: 'Signed by everyone whom a policy demands, with one signature in a separate file',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --policy policy.yaml --signature bob.sigstore.json',
    },
    {
      description: 'And with Kubernetes images that are signed by Kubernetes',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub --upstream-policy kubernetes --trusted-root trusted_root.json',
    },
    {
      description: 'Without a key: complete and unaltered, whoever made it',
      command: '<%= config.bin %> <%= command.id %> k8s.tar --integrity-only',
    },
    {
      description: 'With a report, signed by the auditor',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub --report k8s.report.json --report-key auditor.key',
    },
  ]

  static override args = {
    bundle: Args.string({ description: 'The bundle file', required: true, ignoreStdin: true }),
  }

  static override flags = {
    ...trustFlags,
    ...stateFlag(
      'File in which push keeps sequences: a bundle older than the last one is refused. The file is only read',
    ),
    'integrity-only': Flags.boolean({
      description: 'Check that the bundle is complete and unaltered, but not who made it',
      helpGroup: 'TRUST',
    }),
    ...upstreamFlags,
    ...imagesFlag,
    ...reportFlag,
    'report-key': Flags.string({
      description: 'Private key to sign the report with; writes FILE.sigstore.json and FILE.sig next to it',
      dependsOn: ['report'],
      helpValue: 'KEY',
      helpGroup: 'RECORD',
    }),
    'report-password-file': Flags.string({
      description: 'File with the password of --report-key',
      dependsOn: ['report-key'],
      helpValue: 'FILE',
      helpGroup: 'RECORD',
    }),
  }

  async run(): Promise<Evidence> {
    const { args, flags, raw } = await this.parse(Verify)
    const trust = trustFrom(flags, { flag: '--integrity-only', isSet: flags['integrity-only'] })
    const upstream = upstreamFrom(flags)
    const keyFile = flags['report-key']
    const warn = (message: string): void => this.warning(message)
    const key = await openDocumentKey('report', keyFile, flags['report-password-file'], warn)
    // From here on, Ctrl-C must clean up.
    const { signal } = this
    // A report that cannot be written fails before anything is hashed.
    const output = flags.report === undefined ? undefined : await reserveReport(flags.report, key)
    const { verify } = await import('../index.ts')
    const progress = new Progress()
    try {
      let report: ReportFile | undefined
      const opened = await verify(args.bundle, {
        ...trust,
        sequences: flags.state,
        upstream,
        onEvent: progress.onEvent,
        signal,
        ...(output && {
          reportCommand: reportedCommand('verify', raw, { ...BaseCommand.baseFlags, ...Verify.flags }),
          onReport: async (made) => {
            progress.stop()
            if (made.verdict === 'failed') await keepFailureReport(made, async () => output)
            else report = await keepReport(output, made)
          },
        }),
      })
      progress.stop()
      const evidence = { ...evidenceOf(opened, opened.description, true), ...(report ? { report } : {}) }
      this.print(renderEvidence(evidence, { details: flags.images }), highlightOf(evidence))
      const given = trustWords(flags)
      this.printNext(
        given === undefined
          ? `airgap verify ${shellWord(args.bundle)} --key PUB, with the public key of whoever should have made it`
          : `airgap push ${shellWord(args.bundle)} REGISTRY ${given} --dry-run`,
      )
      return evidence
    } finally {
      progress.stop()
      await output?.discard()
    }
  }
}
