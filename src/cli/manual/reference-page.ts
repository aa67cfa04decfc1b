import { commandGroups, commandScreen } from './screens.ts'
import { ENVIRONMENT, EXIT_STATUS, FILES, HABITS } from './topics.ts'
import type { ProgramModel } from './program.ts'

/** Wide enough for most flags on one line, narrow enough for a web page. */
const WIDTH = 96

/** docs/cli.md: the help of all commands, and what they have in common. */
export function referencePage(program: ProgramModel): string {
  const { name, commands } = program
  const ordered = commandGroups(commands)
  return [
    `# ${name} on the command line`,
    '<!-- Made by npm run man from the commands themselves; changes here are lost. -->',
    ...ordered.flatMap(({ heading, commands: members }) => [
      `**${heading}**`,
      members
        .map((command) => `- [\`${name} ${command.name}\`](#${name}-${command.name}) – ${command.summary}`)
        .join('\n'),
    ]),
    `\`${name} COMMAND --help\` and the man page, [man/${name}.1](man/${name}.1), say the same.`,
    '## All commands',
    HABITS.map((text) => `- ${marked(text)}`).join('\n'),
    '## Exit codes',
    table(
      ['code', 'meaning'],
      EXIT_STATUS.map(([code, , meaning]) => [String(code), meaning]),
    ),
    '## Environment',
    table(
      ['variable', 'what it does'],
      ENVIRONMENT.map(([names, text]) => [asCode(names), marked(text)]),
    ),
    '## Files',
    table(
      ['file', 'what it is'],
      FILES.map(([path, text]) => [asCode(path), marked(text)]),
    ),
    ...ordered
      .flatMap((group) => group.commands)
      .flatMap((command) => [
        `## ${name} ${command.name}`,
        `\`\`\`text\n${commandScreen(program, command, { width: WIDTH })}\n\`\`\``,
      ]),
    '',
  ].join('\n\n')
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** A list of names, each in code. */
function asCode(names: string): string {
  return names
    .split(', ')
    .map((word) => `\`${word}\``)
    .join(', ')
}

/** Puts flags, JSON and file names in backticks, so that nothing in them becomes HTML or emphasis. */
function marked(text: string): string {
  return text.replaceAll(
    /\{.*\}\}|(?<![\w-])--?[a-z][a-z-]*|~\/\S*\w|docker-credential-NAME/g,
    (part) => `\`${part}\``,
  )
}
