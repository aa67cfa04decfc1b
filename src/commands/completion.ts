import { Args } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import type { CompletionResult } from '../cli/output/shapes/results.ts'

export default class Completion extends BaseCommand {
  static override description =
    'Print a shell script that completes commands, flags and files\nThe script is self-contained: when you press Tab, it runs no program and contacts no registry. Print it again after upgrading airgap. For zsh, any folder in fpath will do; run compinit before sourcing the script.'

  static override examples = [
    {
      description: 'bash, in ~/.bashrc',
      command: 'source <(<%= config.bin %> <%= command.id %> bash)',
    },
    {
      description: 'bash, for all users (needs the package bash-completion)',
      command: '<%= config.bin %> <%= command.id %> bash > /usr/share/bash-completion/completions/airgap',
    },
    {
      description: 'zsh, in ~/.zshrc, after compinit',
      command: 'source <(<%= config.bin %> <%= command.id %> zsh)',
    },
    {
      description: 'zsh, for all users',
      command: '<%= config.bin %> <%= command.id %> zsh > /usr/local/share/zsh/site-functions/_airgap',
    },
  ]

  static override args = {
    shell: Args.custom<CompletionResult['shell']>({
      options: ['bash', 'zsh'],
      description: 'Which shell the script is for',
      ignoreStdin: true,
    })({ required: true }),
  }

  async run(): Promise<CompletionResult> {
    const { args } = await this.parse(Completion)
    const { describeProgram } = await import('../cli/manual/program.ts')
    const { newestReleases } = await import('../index.ts')
    const { shell } = args
    const generator =
      shell === 'bash'
        ? (await import('../cli/manual/bash.ts')).bashCompletion
        : (await import('../cli/manual/zsh.ts')).zshCompletion
    const script = generator(describeProgram(this.config), newestReleases())
    // Not by `print`, which would escape characters.
    if (!this.jsonEnabled()) process.stdout.write(script)
    return { shell, script }
  }
}
