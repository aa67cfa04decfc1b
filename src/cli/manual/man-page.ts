import { argumentLabel, flagText, groupFlags, usageOf } from './program.ts'
import { commandGroups } from './screens.ts'
import { ENVIRONMENT, EXIT_STATUS, FILES, HABITS, WHOLE_JOB } from './topics.ts'
import { wrap, wrapCommand } from '../output/wrap.ts'
import type { CommandModel, FlagModel, ProgramModel } from './program.ts'

/** Examples are indented, so this fits 80 columns. */
const EXAMPLE_WIDTH = 66

/** Width of lines in the source; roff fills them again. */
const SOURCE_WIDTH = 78

/** One man page (section 1) for all commands, with the man macros that both groff and mandoc know. */
export function manPage(program: ProgramModel): string {
  const { name, version, summary, commands } = program
  const ordered = commandGroups(commands)
  const shared = commands[0] ? flagsOfAll(commands[0]) : []
  const lines = [
    String.raw`.\" Made by npm run man from the commands' own descriptions; changes here are lost.`,
    `.TH ${argument(name.toUpperCase())} 1 "" ${argument(`${name} ${version}`)} "User Commands"`,
    // Left aligned and without hyphenation, because people copy from it. groff turns hyphenation on again with each
    // paragraph unless the register is 0.
    '.nh',
    '.nr HY 0',
    '.ad l',
    '.SH NAME',
    // What `whatis` prints, up to the colon.
    `${roff(name)} \\- ${roff(lowerFirst(summary.replace(/:.*/s, '')))}`,
    '.SH SYNOPSIS',
    ...commands.flatMap((command, i) => (i > 0 ? ['.br'] : []).concat(synopsis(command, name))),
    '.SH DESCRIPTION',
    ...WHOLE_JOB.flatMap(({ about, commands: lines }) => ['.PP', `${roff(about)}:`, example(lines)].flat()),
    ...HABITS.flatMap((text) => ['.PP', prose(text)]),
    '.SH COMMANDS',
    ...ordered.flatMap(({ heading, commands: members }) => [
      '.PP',
      `${roff(heading)}:`,
      ...members.flatMap((command) => ['.TP', bold(`${name} ${command.name}`), prose(command.summary)]),
    ]),
    ...ordered.flatMap((group) => group.commands).flatMap((command) => commandSection(command, name)),
    '.SH "FLAGS OF ALL COMMANDS"',
    ...flagList(shared),
    '.TP',
    `${bold('-V')}, ${bold('--version')}`,
    'Show the version. Used without a command.',
    '.SH "EXIT STATUS"',
    ...EXIT_STATUS.flatMap(([code, , meaning]) => ['.TP', bold(String(code)), prose(meaning)]),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.flatMap(([names, text]) => ['.TP', bold(names), prose(text)]),
    '.SH FILES',
    ...FILES.flatMap(([path, text]) => ['.TP', italic(path), prose(text)]),
    '.SH "SEE ALSO"',
    ['cosign', 'skopeo', 'kubeadm', 'sha256sum', 'tar'].map((page) => `${bold(page)}(1)`).join(', '),
  ]
  // A heading begins a paragraph by itself.
  const isHeading = (line: string | undefined): boolean => /^\.S[HS] /.test(line ?? '')
  return `${lines.filter((line, i) => line !== '.PP' || !isHeading(lines[i - 1])).join('\n')}\n`
}

function commandSection(command: CommandModel, program: string): string[] {
  const own = command.flags.filter(({ group }) => group !== 'GLOBAL')
  return [
    `.SH ${argument(`${program} ${command.name}`.toUpperCase())}`,
    synopsis(command, program),
    '.PP',
    `${prose(command.summary)}.`,
    ...(command.description === '' ? [] : [prose(command.description)]),
    ...(command.examples.length === 0 ? [] : ['.SS Examples']),
    ...command.examples.flatMap(({ about, command: line }) => [
      ...(about === undefined ? [] : ['.PP', `${prose(about)}:`]),
      ...example([line]),
    ]),
    ...(command.args.length === 0 ? [] : ['.SS Arguments']),
    ...command.args.flatMap((arg) => ['.TP', italic(argumentLabel(arg)), prose(arg.description)]),
    ...groupFlags(own).flatMap(({ group, flags }) => [`.SS ${flagHeading(group)}`].concat(flagList(flags))),
  ]
}

function flagHeading(group: string): string {
  return argument(group === '' ? 'Flags' : `${group.charAt(0)}${group.slice(1).toLowerCase()} flags`)
}

function flagsOfAll({ flags }: CommandModel): FlagModel[] {
  return flags.filter(({ group }) => group === 'GLOBAL')
}

function flagList(flags: readonly FlagModel[]): string[] {
  return flags.flatMap((flag) => {
    const { name, char, value, options } = flag
    const spellings = [...(char === undefined ? [] : [bold(`-${char}`)]), bold(`--${name}`)].join(', ')
    const place = options ? options.map(bold).join('|') : value && italic(value)
    return ['.TP', place === undefined ? spellings : `${spellings} ${place}`, prose(flagText(flag))]
  })
}

function synopsis(command: CommandModel, program: string): string {
  const [, , ...rest] = usageOf(command, program).split(' ')
  const words = rest.map((word) => {
    if (word.startsWith('-')) return bold(word)
    return word.replaceAll(/[A-Z]+|[^A-Z]+/g, (part) => (/^[A-Z]/.test(part) ? italic(part) : roff(part)))
  })
  return [bold(`${program} ${command.name}`), ...words].join(' ')
}

function example(lines: readonly string[]): string[] {
  return [
    '.PP',
    '.RS 4',
    '.EX',
    ...lines.flatMap((line) => wrapCommand(line, 0, EXAMPLE_WIDTH)).map((line) => guarded(roff(line))),
    '.EE',
    '.RE',
  ]
}

/** Text in which parts in backticks become bold. */
function prose(text: string): string {
  return text
    .split('\n')
    .map((paragraph) => {
      const parts = paragraph.split('`').map((part, i) => (i % 2 === 1 ? bold(part) : roff(part)))
      return guarded(wrap(parts.join(''), SOURCE_WIDTH).join('\n'))
    })
    .join('\n.PP\n')
}

function bold(text: string): string {
  return `\\fB${roff(text)}\\fP`
}

function italic(text: string): string {
  return `\\fI${roff(text)}\\fP`
}

/** The argument of a macro. */
function argument(text: string): string {
  return `"${roff(text).replaceAll('"', String.raw`\(dq`)}"`
}

/** Guards lines that begin with a full stop or an apostrophe, which roff would read as macros. */
function guarded(text: string): string {
  return text.replaceAll(/^(?=[.'])/gm, String.raw`\&`)
}

const SPECIAL: Record<string, string> = {
  '\\': String.raw`\e`,
  // Dashes and quotes must survive being copied into a shell.
  '-': String.raw`\-`,
  "'": String.raw`\(aq`,
  '`': String.raw`\(ga`,
  '^': String.raw`\(ha`,
  '~': String.raw`\(ti`,
}

/** Escapes text so that roff prints it unchanged; non-ASCII characters by code point. */
function roff(text: string): string {
  return text
    .replaceAll(/[\\\-'`^~]/g, (character) => SPECIAL[character] ?? character)
    .replaceAll(
      /[^\n\x20-\x7e]/gu,
      (character) => `\\[u${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`,
    )
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
