import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { registryFlags } from '../cli/input/flags.ts'
import { formatFields } from '../cli/output/format.ts'
import { checkLoginInput, readLoginInput } from '../cli/input/login-input.ts'
import { Progress } from '../cli/output/progress.ts'
import { pressureOptions, registryOptions } from '../cli/input/registries.ts'
import { describeStorage, storedIn } from '../cli/output/render-pack.ts'
import type { LoginResult } from '../cli/output/shapes/results.ts'

export default class Login extends BaseCommand {
  static override description =
    'Store credentials for a registry\nTries the credentials first, and stores nothing that the registry rejects. They are stored where docker login puts them: in the file given with --auth-file, else $REGISTRY_AUTH_FILE, else $DOCKER_CONFIG/config.json or ~/.docker/config.json, or in the credential helper that this file names (credsStore, credHelpers). Docker, Podman and Skopeo find them there too.'

  static override examples = [
    '<%= config.bin %> <%= command.id %> harbor.internal',
    "<%= config.bin %> <%= command.id %> harbor.internal --username 'robot$packer' --password-stdin < token.txt",
    '<%= config.bin %> <%= command.id %> registry.internal:5000 --ca-file ca.pem --auth-file auth.json',
  ]

  static override args = {
    registry: Args.string({
      description: 'HOST[:PORT] of the registry, or HOST/PATH for a part of it',
      required: true,
      ignoreStdin: true,
    }),
  }

  static override flags = {
    username: Flags.string({
      char: 'u',
      description: 'User name; if not given, you are asked for it',
      helpValue: 'USER',
    }),
    'password-stdin': Flags.boolean({ description: 'Read the password from standard input' }),
    password: Flags.string({ char: 'p', hidden: true }),
    ...registryFlags,
  }

  async run(): Promise<LoginResult> {
    const { args, flags } = await this.parse(Login)
    checkLoginInput(flags)
    const { checkLogin, findStorage, parseLoginTarget, storeCredentials } = await import('../index.ts')
    const target = parseLoginTarget(args.registry)
    const options = { authFile: flags['auth-file'], env: process.env }
    const storage = await findStorage(target, options)
    const { username, password } = await readLoginInput(target.name, flags)

    // From here on, Ctrl-C must clean up.
    const { signal } = this
    const progress = new Progress()
    const network = {
      ...pressureOptions(flags),
      registries: registryOptions(flags),
      signal,
      onEvent: progress.onEvent,
    }
    let wantsCredentials: boolean
    try {
      ;({ wantsCredentials } = await checkLogin(target, { username, password }, network))
    } finally {
      progress.stop()
    }
    const { shadowedBy } = await storeCredentials(target, { username, password }, storage, {
      ...options,
      signal,
    })
    this.print(
      formatFields([
        ['registry', target.name],
        ['user', username],
        ['checked', wantsCredentials ? 'accepted by the registry' : 'not possible'],
        ['stored in', describeStorage(storage)],
      ]),
    )
    if (!wantsCredentials) {
      this.warning(
        `${target.registry} did not ask for credentials, so the user name and password could not be checked; they are stored, and used when it asks`,
      )
    }
    if (shadowedBy !== undefined) {
      this.warning(`other credentials for ${target.name} take precedence: those from ${shadowedBy}`)
    }
    if (storage.helper === undefined) {
      this.warning(
        `the password is stored unencrypted in ${storage.file} (readable only by you). To encrypt it, install a credential helper such as docker-credential-pass or docker-credential-secretservice, name it in that file ("credsStore": "pass"), and log in again.`,
      )
    }
    return { registry: target.name, username, checked: wantsCredentials, storedIn: storedIn(storage) }
  }
}
