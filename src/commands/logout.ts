import { Args } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { registryFlags } from '../cli/input/flags.ts'
import { describeStorage, storedIn } from '../cli/output/render-pack.ts'
import type { LogoutResult } from '../cli/output/shapes/results.ts'
import { AirgapError } from '../errors.ts'

export default class Logout extends BaseCommand {
  static override description =
    'Remove the stored credentials for a registry\nRemoves them from where airgap login and docker login store them: the file given with --auth-file, else $REGISTRY_AUTH_FILE, else $DOCKER_CONFIG/config.json or ~/.docker/config.json, or the credential helper that this file names. The registry is not contacted.'

  static override examples = [
    '<%= config.bin %> <%= command.id %> harbor.internal',
    '<%= config.bin %> <%= command.id %> harbor.internal --auth-file auth.json',
  ]

  static override args = {
    registry: Args.string({
      description: 'HOST[:PORT] of the registry, or HOST/PATH for a part of it',
      required: true,
      ignoreStdin: true,
    }),
  }

  static override flags = { 'auth-file': registryFlags['auth-file'] }

  async run(): Promise<LogoutResult> {
    const { args, flags } = await this.parse(Logout)
    const { parseLoginTarget, removeCredentials } = await import('../index.ts')
    const target = parseLoginTarget(args.registry)
    const options = { authFile: flags['auth-file'], env: process.env }
    // From here on, Ctrl-C must clean up.
    const { signal } = this
    const removal = await removeCredentials(target, { ...options, signal })
    const where = describeStorage(removal)
    this.print(
      removal.removed
        ? `Removed the credentials for ${target.name} from ${where}`
        : `There are no credentials for ${target.name} in ${where}: nothing to remove`,
    )
    const { findCredentials } = await import('../index.ts')
    let stillFoundIn: string | undefined
    try {
      stillFoundIn = (await findCredentials(target, options))?.source
    } catch (error) {
      // The credentials are removed; that another place cannot be read does not change that.
      if (!(error instanceof AirgapError)) throw error
      this.warning(`cannot check other places for credentials: ${error.message}`)
    }
    if (stillFoundIn !== undefined) {
      this.warning(`there are still other credentials for ${target.name}: those from ${stillFoundIn}`)
    }
    return {
      registry: target.name,
      removed: removal.removed,
      storedIn: storedIn(removal),
      ...(stillFoundIn === undefined ? {} : { stillFoundIn }),
    }
  }
}
