import {
  argumentLabel,
  type CommandModel,
  describeProgram,
  type FlagModel,
  flagText,
  groupFlags,
  type ProgramModel,
  usageOf,
} from './program.ts'
import { COMMAND_GROUPS, EXIT_STATUS, OTHER_COMMANDS, WHOLE_JOB } from './topics.ts'
import { definitions, indented, wrap, wrapCommand } from '../output/wrap.ts'
import type { Interfaces } from '@oclif/core'
import { unknownCommand } from '../words/command-not-found.ts'
import { formatError } from '../words/format-error.ts'
import { print } from '../output/print.ts'
import { columnsOf, styler } from '../output/terminal.ts'

const LEAST_WIDTH = 40
const DEFAULT_WIDTH = 80
/** Longer lines are hard to read, even on a wide terminal. */
const GREATEST_WIDTH = 100

/**
 * Shows the help that is asked for, on standard output.
 * @param argv the whole command line, help flags included.
 */
export function showHelp(argv: readonly string[], plugin: Interfaces.Plugin): void {
  const subject = argv.find((word) => !word.startsWith('-') && word !== 'help')
  if (subject !== undefined && !plugin.commandIDs.includes(subject)) {
    const error = unknownCommand(subject, plugin.commandIDs)
    process.stderr.write(`${formatError(error)}\n`)
    process.exitCode = error.exitCode
    return
  }
  const program = describeProgram(plugin)
  const command = program.commands.find(({ name }) => name === subject)
  const screen = command
    ? commandScreen(program, command, screenOptions())
    : rootScreen(program, screenOptions())
  print(`${screen}\n`)
}

function screenOptions(): ScreenOptions {
  const style = styler(process.stdout)
  const columns = columnsOf(process.stdout) ?? DEFAULT_WIDTH
  const width = Math.min(Math.max(columns, LEAST_WIDTH), GREATEST_WIDTH)
  return { width, heading: (text) => style('bold', text) }
}

export interface ScreenOptions {
  /** Maximum characters per line. */
  width: number
  /** Makes a heading stand out. */
  heading?: (text: string) => string
}

/** Maximum width of the first column, so that the descriptions next to it have room. */
function widestTerm(width: number): number {
  return Math.floor(width * 0.35)
}

/** The text of `airgap COMMAND --help`: examples first. */
export function commandScreen(
  { name: program }: ProgramModel,
  command: CommandModel,
  { width, heading = (text) => text }: ScreenOptions,
): string {
  const rows = (flags: readonly FlagModel[]): string[] => {
    const hasChars = flags.some(({ char }) => char !== undefined)
    return definitions(
      flags.map((flag) => [flagLabel(flag, hasChars), flagText(flag)] as const),
      { indent: 2, width, widest: widestTerm(width) },
    )
  }
  const sections: [string, string[]][] = [
    ['USAGE', wrapCommand(usageOf(command, program), 2, width)],
    [
      'EXAMPLES',
      command.examples.flatMap(({ about, command: line }, i) =>
        [
          i > 0 && about !== undefined ? [''] : [],
          about === undefined ? [] : indented(`${about}:`, 2, width),
          wrapCommand(line, about === undefined ? 2 : 4, width),
        ].flat(),
      ),
    ],
    ['DESCRIPTION', indented(command.description, 2, width)],
    [
      'ARGUMENTS',
      definitions(
        command.args.map((arg) => [argumentLabel(arg), arg.description] as const),
        { indent: 2, width, widest: widestTerm(width) },
      ),
    ],
    ...groupFlags(command.flags).map(({ group, flags }): [string, string[]] => [
      group === '' ? 'FLAGS' : `${group} FLAGS`,
      rows(flags),
    ]),
    ['EXIT CODES', exitCodes(width)],
  ]
  return [
    ...wrap(command.summary, width),
    ...sections
      .filter(([, lines]) => lines.some((line) => line !== ''))
      .flatMap(([title, lines]) => ['', heading(title), lines].flat()),
  ].join('\n')
}

/** The text of `airgap --help`: the whole job, and the commands in its order. */
export function rootScreen(
  { name, summary, commands }: ProgramModel,
  { width, heading = (text) => text }: ScreenOptions,
): string {
  const column = Math.max(...commands.map((command) => command.name.length))
  return [
    ...wrap(summary, width),
    '',
    heading('USAGE'),
    `  ${name} COMMAND [ARGUMENTS] [FLAGS]`,
    '',
    heading('EXAMPLES'),
    ...WHOLE_JOB.flatMap(({ about, commands: lines }, i) =>
      [
        i > 0 ? [''] : [],
        indented(`${about}:`, 2, width),
        lines.flatMap((line) => wrapCommand(line, 4, width)),
      ].flat(),
    ),
    '',
    heading('COMMANDS'),
    ...commandGroups(commands).flatMap(({ heading: title, commands: members }, i) =>
      [
        i > 0 ? [''] : [],
        `  ${title}:`,
        definitions(
          members.map((command) => [command.name.padEnd(column), command.summary] as const),
          { indent: 4, width, widest: column },
        ),
      ].flat(),
    ),
    '',
    heading('FLAGS'),
    ...definitions(
      [
        [
          '-h, --help',
          `Show this help; after a command, or as \`${name} help COMMAND\`, the help of that command`,
        ],
        ['-V, --version', 'Show the version'],
      ],
      { indent: 2, width, widest: widestTerm(width) },
    ),
    '',
    heading('EXIT CODES'),
    ...definitions(
      EXIT_STATUS.map(([code, , meaning]) => [String(code), meaning] as const),
      { indent: 2, width, widest: widestTerm(width) },
    ),
  ].join('\n')
}

/** All exit codes on a line or two. A line never breaks between a code and its meaning. */
function exitCodes(width: number): string[] {
  const text = EXIT_STATUS.map(([code, short]) => `${code}~${short.replaceAll(' ', '~')}`).join(', ')
  return indented(text, 2, width).map((line) => line.replaceAll('~', ' '))
}

/** The commands by heading, without empty headings. */
export function commandGroups(
  commands: readonly CommandModel[],
): { heading: string; commands: CommandModel[] }[] {
  const named = new Set(COMMAND_GROUPS.flatMap((group) => group.commands))
  return [
    ...COMMAND_GROUPS.map(({ heading, commands: names }) => ({
      heading,
      commands: commands.filter(({ name }) => names.includes(name)),
    })),
    { heading: OTHER_COMMANDS, commands: commands.filter(({ name }) => !named.has(name)) },
  ].filter((group) => group.commands.length > 0)
}

/** `-o, --output FILE`; without a letter, indented if other flags of the list have one. */
function flagLabel({ name, char, value }: FlagModel, hasChars: boolean): string {
  const letter = char === undefined ? (hasChars ? '    ' : '') : `-${char}, `
  return `${letter}--${name}${value === undefined ? '' : ` ${value}`}`
}
