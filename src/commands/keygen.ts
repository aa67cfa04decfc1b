import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { formatFields } from '../cli/output/format.ts'
import { newPassword } from '../cli/input/private-key.ts'
import type { KeygenResult } from '../cli/output/shapes/results.ts'

export default class Keygen extends BaseCommand {
  static override description =
    "Make a key pair for signing bundles\nECDSA P-256, the private key encrypted in cosign's own format, so that cosign can use both files too. Existing files are never overwritten. The password is asked for, or comes from AIRGAP_PASSWORD, COSIGN_PASSWORD or --password-file."

  static override examples = [
    {
      description: 'airgap.key and airgap.pub, in the present folder',
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
    'password-file': Flags.string({ description: 'File that holds the password', helpValue: 'FILE' }),
  }

  async run(): Promise<KeygenResult> {
    const { flags } = await this.parse(Keygen)
    const password = await newPassword(flags['password-file'])
    if (password === '') this.warning('the password is empty: whoever gets the private key file can sign')
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
      'The private key stays here. Hand the public key to those who check,\nby another way than the bundles.',
    )
    return { privateKeyFile, publicKeyFile, keyFingerprint }
  }
}
