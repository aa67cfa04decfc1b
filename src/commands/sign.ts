import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { imagesFlag, signingFlags, trustFlags } from '../cli/input/flags.ts'
import { Progress } from '../cli/output/progress.ts'
import { canPrompt, Prompt } from '../cli/input/prompt.ts'
import {
  afterSigning,
  highlightOfSign,
  renderSign,
  renderToSign,
  signResult,
} from '../cli/output/render-sign.ts'
import type { SignResult } from '../cli/output/shapes/results.ts'
import { givenIdentityFlags, trustFrom } from '../cli/input/trust.ts'
import { openSigner, publicKeyFile } from '../cli/input/signer.ts'
import { escapeForeign } from '../text.ts'
import { log } from '../cli/output/log.ts'
import { AirgapError } from '../errors.ts'
import type { VerifiedBundle } from '../index.ts'

const { key: trustedKey, ...otherTrustFlags } = trustFlags

export default class Sign extends BaseCommand {
  static override description =
    'Verify a bundle completely, and approve it with your own signature\nThe bundle is not changed. The signature, a Sigstore bundle over its SHA256SUMS, is a file of its own, which goes along and which verify, push and serve take with --signature. Nothing is signed unless the bundle is complete and unaltered. What is signed is shown before: bundle digest, who made it, and the images. On a terminal, yes has to be answered then; --yes does without, and so does a script, where nobody can be asked. With --verify-key, identities or a policy it also has to be signed by whoever you expect; without, the approval is of the content, whoever made it, and the result says so.'

  static override examples = [
    {
      description: 'What that key has made, and nothing else',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --key approver.key --verify-key airgap.pub -o k8s.approved.json',
    },
    {
      description: 'Exactly the bundle that was tried out, by the digest that was written down',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --key approver.key --verify-key airgap.pub --expect-digest "$APPROVED" -o k8s.approved.json',
    },
    {
      description: 'With a key held elsewhere, by way of a program',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --sign-command /opt/hsm/sign --public-key approver.pub --verify-key airgap.pub -o k8s.approved.json',
    },
  ]

  static override args = {
    bundle: Args.string({ description: 'The bundle file', required: true, ignoreStdin: true }),
  }

  static override flags = {
    output: Flags.string({
      char: 'o',
      required: true,
      description: 'The new file for the signature; it must not exist yet',
      helpValue: 'FILE',
      helpGroup: 'OUTPUT',
    }),
    ...signingFlags,
    'verify-key': Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'Public key that the bundle has to be signed with already; any one of several suffices',
      exclusive: ['policy'],
      helpValue: trustedKey.helpValue as string,
      helpGroup: 'TRUST',
    }),
    ...otherTrustFlags,
    ...imagesFlag,
    yes: Flags.boolean({
      char: 'y',
      description: 'Do not ask before signing',
      helpGroup: 'SIGNING',
    }),
    'integrity-only': Flags.boolean({
      description: 'Say that who made the bundle need not be checked; spares the warning',
      exclusive: ['verify-key'],
      helpGroup: 'TRUST',
    }),
  }

  async run(): Promise<SignResult> {
    const { args, flags } = await this.parse(Sign)
    if (flags.output === '-') throw new AirgapError('USAGE', '-o has to name a file for the signature')
    const keys = flags['verify-key'] ?? []
    const isAuthenticated =
      keys.length > 0 || flags.policy !== undefined || givenIdentityFlags(flags).length > 0
    if (!isAuthenticated && (flags.signature ?? []).length > 0) {
      throw new AirgapError('USAGE', '--signature needs the --verify-key that it is to be checked with')
    }
    if (isAuthenticated && flags['integrity-only']) {
      throw new AirgapError(
        'USAGE',
        '--integrity-only says that nobody is asked who made the bundle, and somebody is named',
      )
    }
    const trust = trustFrom({ ...flags, key: keys }, { flag: '--integrity-only', isSet: !isAuthenticated })
    const key = await openSigner(flags)
    if (!key) {
      throw new AirgapError('USAGE', 'one of --key FILE and --sign-command COMMAND has to be given', {
        hint: 'It is your own private key, which approves of the bundle. The key that the bundle was made with is given as --verify-key.',
      })
    }
    for (const message of key.warnings) this.warning(message)
    if (!isAuthenticated && !flags['integrity-only']) {
      this.warning(
        'who made the bundle is not checked. --verify-key PUB has it checked; --integrity-only says that it need not be',
      )
    }
    const { sign } = await import('../index.ts')
    let progress = new Progress()
    try {
      const opened = await sign(args.bundle, {
        ...trust,
        key,
        output: flags.output,
        onVerified: async (bundle) => {
          progress.stop()
          await this.#confirm(bundle, flags)
          progress = new Progress()
        },
        onEvent: (event) => progress.onEvent(event),
        signal: this.signal,
      })
      progress.stop()
      const result = signResult(opened, { key, output: flags.output })
      this.print(renderSign(result), highlightOfSign(result))
      this.printNext(afterSigning(result, publicKeyFile(flags) ?? ''))
      return result
    } finally {
      progress.stop()
    }
  }

  /**
   * Shows what is going to be signed, and asks where somebody can be asked.
   * @throws AirgapError `INTERRUPTED` where the answer is not yes.
   */
  async #confirm(bundle: VerifiedBundle, { yes, images }: { yes: boolean; images: boolean }): Promise<void> {
    const text = renderToSign(bundle, { details: images })
    const mustAsk = !yes && canPrompt()
    // What is asked about is shown under --quiet, too.
    if (mustAsk && log.isQuiet) process.stderr.write(`${escapeForeign(text)}\n`)
    this.note(text)
    if (!mustAsk) return
    using prompt = new Prompt()
    const answer = await prompt.ask('Sign this? [y/N] ', { isSecret: false })
    if (/^\s*y(?:es)?\s*$/i.test(answer)) return
    throw new AirgapError('INTERRUPTED', 'nothing was signed: the answer was not yes', {
      hint: 'Run the same command again, or with --yes, which does not ask.',
    })
  }
}
