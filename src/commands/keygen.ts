import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { formatFields } from '../cli/output/format.ts'
import { newPassword } from '../cli/input/private-key.ts'
import type { KeygenResult } from '../cli/output/shapes/results.ts'

export default class Keygen extends BaseCommand {
  static override description =
    "Make a key pair for signing bundles\nThe keys are ECDSA P-256. The private key is encrypted in cosign's format, so cosign can use both files too. Existing files are never overwritten. The password comes from --password-file, AIRGAP_PASSWORD or COSIGN_PASSWORD; if none is set, you are asked for it."

  static override examples = [
    {
      description: 'airgap.key and airgap.pub, in the current folder',
      command: '<%= config.bin %> <%= command.id %>',
    },
    {
      description: 'Under another name',
      command: '<%= config.bin %> <%= command.id %> --output-key-prefix release',
    },
  ]

  static override flags = {
    'output-key-prefix': Flags.string({
      description: 'The files are PREFIX.key and PREFIX.pub',
      default: 'airgap',
      helpValue: 'PREFIX',
    }),
    'password-file': Flags.string({ description: 'File with the password', helpValue: 'FILE' }),
  }

  async run(): Promise<KeygenResult> {
    const { flags } = await this.parse(Keygen)
    const password = await newPassword(flags['password-file'])
    if (password === '') this.warning('the password is empty: anyone who gets the private key file can sign')
    const { writeKeyPair } = await import('../index.ts')
    const {
      privateKeyFile,
      publicKeyFile,
      fingerprint: keyFingerprint,
    } = await writeKeyPair({
      prefix: flags['output-key-prefix'],
      password,
    })
    this.print(
      formatFields([
        ['private key', privateKeyFile],
        ['public key', publicKeyFile],
        ['fingerprint', keyFingerprint],
      ]),
    )
    this.note(
      'Keep the private key here. Give the public key to those who verify bundles,\nthrough a different channel than the bundles.',
    )
    return { privateKeyFile, publicKeyFile, keyFingerprint }
  }
}
