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
    'Verify a bundle completely and approve it with your own signature\nThe bundle is not changed. The signature, a Sigstore bundle over its SHA256SUMS, goes to a separate file, which travels with the bundle and which verify, push and serve accept with --signature. Nothing is signed unless the bundle is complete and unaltered. The bundle digest, who made it, and the images are shown first. On a terminal you then have to confirm, unless you give --yes; in a script nothing is asked. With --verify-key, identities or a policy, the bundle must also be signed by whom you name. Without them you approve the content, whoever made it, and the result says so.'

  static override examples = [
    {
      description: 'Only a bundle that was signed with this key',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --key approver.key --verify-key airgap.pub -o k8s.approved.json',
    },
    {
      description: 'Only the bundle that was tested, by its digest',
      command:
        '<%= config.bin %> <%= command.id %> k8s.tar --key approver.key --verify-key airgap.pub --expect-digest "$APPROVED" -o k8s.approved.json',
    },
    {
      description: 'Signed by a program, with a key in an HSM',
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
      description: 'New file for the signature; it must not exist yet',
      helpValue: 'FILE',
      helpGroup: 'OUTPUT',
    }),
    ...signingFlags,
    'verify-key': Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'Public key that the bundle must already be signed with; with several, one is enough',
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
      description: 'Do not check who made the bundle, and do not warn about that',
      exclusive: ['verify-key'],
      helpGroup: 'TRUST',
    }),
  }

  async run(): Promise<SignResult> {
    const { args, flags } = await this.parse(Sign)
    if (flags.output === '-') throw new AirgapError('USAGE', '-o must name a file for the signature')
    const keys = flags['verify-key'] ?? []
    const isAuthenticated =
      keys.length > 0 || flags.policy !== undefined || givenIdentityFlags(flags).length > 0
    if (!isAuthenticated && (flags.signature ?? []).length > 0) {
      throw new AirgapError('USAGE', '--signature needs a --verify-key to check it with')
    }
    if (isAuthenticated && flags['integrity-only']) {
      throw new AirgapError(
        'USAGE',
        '--integrity-only cannot be used with flags that say who must have signed',
      )
    }
    const trust = trustFrom({ ...flags, key: keys }, { flag: '--integrity-only', isSet: !isAuthenticated })
    const key = await openSigner(flags)
    if (!key) {
      throw new AirgapError('USAGE', 'give --key FILE or --sign-command COMMAND', {
        hint: 'That is your own private key, with which you approve the bundle. The public key of whoever made the bundle goes to --verify-key.',
      })
    }
    for (const message of key.warnings) this.warning(message)
    if (!isAuthenticated && !flags['integrity-only']) {
      this.warning(
        'it is not checked who made the bundle. Check it with --verify-key PUB, or give --integrity-only to go without this warning',
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
   * Shows what will be signed and, on a terminal, asks for confirmation.
   * @throws AirgapError `INTERRUPTED` unless the answer is yes.
   */
  async #confirm(bundle: VerifiedBundle, { yes, images }: { yes: boolean; images: boolean }): Promise<void> {
    const text = renderToSign(bundle, { details: images })
    const mustAsk = !yes && canPrompt()
    // Whoever is asked sees what about, even with --quiet.
    if (mustAsk && log.isQuiet) process.stderr.write(`${escapeForeign(text)}\n`)
    this.note(text)
    if (!mustAsk) return
    using prompt = new Prompt()
    const answer = await prompt.ask('Sign this? [y/N] ', { isSecret: false })
    if (/^\s*y(?:es)?\s*$/i.test(answer)) return
    throw new AirgapError('INTERRUPTED', 'nothing was signed, because you did not confirm', {
      hint: 'Run the same command again and answer y, or add --yes to skip the question.',
    })
  }
}
