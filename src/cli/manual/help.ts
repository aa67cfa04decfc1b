import { HelpBase, type Command } from '@oclif/core'
import { unknownCommand } from '../words/command-not-found.ts'
import { describeProgram } from './program.ts'
import { commandScreen, rootScreen, type ScreenOptions } from './screens.ts'
import { formatError } from '../words/format-error.ts'
import { columnsOf, styler } from '../output/terminal.ts'

const LEAST_WIDTH = 40
const DEFAULT_WIDTH = 80
/** Longer lines are hard to read, however wide the terminal. */
const GREATEST_WIDTH = 100

/** Help as oclif calls it: on standard output, examples first. */
export default class Help extends HelpBase {
  /** @param argv the whole command line, help flags included. */
  async showHelp(argv: string[]): Promise<void> {
    const subject = argv.find((word) => !word.startsWith('-') && word !== 'help')
    const command = subject === undefined ? undefined : this.config.findCommand(subject)
    if (command) {
      await this.showCommandHelp(command)
    } else if (subject === undefined) {
      this.#print(rootScreen(describeProgram(this.config), screenOptions()))
    } else {
      const error = unknownCommand(subject, this.config.commandIDs)
      process.stderr.write(`${formatError(error)}\n`)
      process.exitCode = error.exitCode
    }
  }

  async showCommandHelp({ id }: Command.Loadable): Promise<void> {
    const program = describeProgram(this.config)
    const command = program.commands.find(({ name }) => name === id)
    if (command) this.#print(commandScreen(program, command, screenOptions()))
  }

  #print(text: string): void {
    process.stdout.write(`${text}\n`)
  }
}

function screenOptions(): ScreenOptions {
  const style = styler(process.stdout)
  const columns = columnsOf(process.stdout) ?? DEFAULT_WIDTH
  const width = Math.min(Math.max(columns, LEAST_WIDTH), GREATEST_WIDTH)
  return { width, heading: (text) => style('bold', text) }
}
