import { Args } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import type { CompletionResult } from '../cli/output/shapes/results.ts'

export default class Completion extends BaseCommand {
  static override description =
    'Print the script that completes commands, flags and files in a shell\nThe script is complete in itself: it runs nothing when a key is pressed, and asks no registry. Print it again after airgap has been renewed. The folder for zsh is any folder of fpath; compinit has to have run before the script is sourced.'

  static override examples = [
    {
      description: 'bash, in ~/.bashrc',
      command: 'source <(<%= config.bin %> <%= command.id %> bash)',
    },
    {
      description: 'bash, for every user of the machine (with the package bash-completion)',
      command: '<%= config.bin %> <%= command.id %> bash > /usr/share/bash-completion/completions/airgap',
    },
    {
      description: 'zsh, in ~/.zshrc, after compinit',
      command: 'source <(<%= config.bin %> <%= command.id %> zsh)',
    },
    {
      description: 'zsh, for every user of the machine',
      command: '<%= config.bin %> <%= command.id %> zsh > /usr/local/share/zsh/site-functions/_airgap',
    },
  ]

  static override args = {
    shell: Args.custom<CompletionResult['shell']>({
      options: ['bash', 'zsh'],
      description: 'The shell to complete in',
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
    // As it is: a line end more or less would not matter, but escaping would.
    if (!this.jsonEnabled()) process.stdout.write(script)
    return { shell, script }
  }
}
