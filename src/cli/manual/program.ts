import type { Command, Interfaces } from '@oclif/core'
import { COMMAND_GROUPS } from './topics.ts'

/** A flag as help, completion and the man page show it. */
export interface FlagModel {
  name: string
  char?: string | undefined
  /** Placeholder for the value; undefined if the flag takes none. */
  value?: string | undefined
  /** The allowed values. */
  options?: readonly string[] | undefined
  default?: string | undefined
  description: string
  group: string
  isRequired: boolean
  isRepeatable: boolean
}

/** An argument without a flag. */
export interface ArgumentModel {
  /** In capitals, as in usage lines. */
  label: string
  description: string
  options?: readonly string[] | undefined
  isRequired: boolean
  isRepeatable: boolean
}

export interface ExampleModel {
  /** What the example does. */
  about?: string | undefined
  /** One line, ready for a shell. */
  command: string
}

export interface CommandModel {
  name: string
  summary: string
  /** Without the summary; may be empty. */
  description: string
  examples: readonly ExampleModel[]
  args: readonly ArgumentModel[]
  /** In the order of {@link groupFlags}; the global flags come last. */
  flags: readonly FlagModel[]
}

export interface ProgramModel {
  name: string
  version: string
  summary: string
  /** In the order of the job. */
  commands: readonly CommandModel[]
}

/** The order of flag groups in help. Groups not named here come right before the last one. */
const GROUP_ORDER = ['', 'INPUT', 'PLATFORM', 'OUTPUT', 'SIGNING', 'TRUST', 'REGISTRY']
const LAST_GROUP = 'GLOBAL'

const HELP_FLAG: FlagModel = {
  name: 'help',
  char: 'h',
  description: 'Show this help',
  group: LAST_GROUP,
  isRequired: false,
  isRepeatable: false,
}

/** Describes all commands, from oclif's data, for help, completion and the man page. */
export function describeProgram({
  pjson,
  version,
  commands,
}: Pick<Interfaces.Plugin, 'pjson' | 'version' | 'commands'>): ProgramModel {
  const bin = pjson.oclif.bin ?? pjson.name
  const order = COMMAND_GROUPS.flatMap(({ commands }) => commands)
  const rank = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length)
  return {
    name: bin,
    version,
    summary: pjson.description ?? '',
    commands: commands
      .filter(({ hidden }) => !hidden)
      .map((command) => describeCommand(command, bin))
      .toSorted((a, b) => rank(a.name) - rank(b.name) || (a.name < b.name ? -1 : 1)),
  }
}

function describeCommand(command: Command.Cached, bin: string): CommandModel {
  const [first = '', ...rest] = (command.description ?? '').split('\n')
  const fill = (text: string): string =>
    text.replaceAll('<%= config.bin %>', bin).replaceAll('<%= command.id %>', command.id)
  return {
    name: command.id,
    summary: fill(command.summary ?? first),
    description: fill((command.summary === undefined ? rest.join('\n') : (command.description ?? '')).trim()),
    examples: (command.examples ?? []).map((example) =>
      typeof example === 'string'
        ? { command: fill(example) }
        : { about: fill(example.description), command: fill(example.command) },
    ),
    args: Object.values(command.args ?? {})
      .filter(({ hidden }) => !hidden)
      .map((arg) => ({
        label: arg.name.toUpperCase(),
        description: arg.description ?? '',
        options: arg.options,
        isRequired: arg.required ?? false,
        isRepeatable: arg.multiple ?? false,
      })),
    flags: groupFlags([
      ...Object.entries(command.flags ?? {})
        .filter(([, flag]) => !flag.hidden)
        .map(([name, flag]) => describeFlag(name, flag)),
      HELP_FLAG,
    ]).flatMap(({ flags }) => flags),
  }
}

function describeFlag(name: string, flag: Command.Flag.Cached): FlagModel {
  const shared = {
    name,
    char: flag.char,
    description: flag.summary ?? flag.description ?? '',
    group: flag.helpGroup ?? '',
    isRequired: flag.required ?? false,
  }
  if (flag.type === 'boolean') return { ...shared, isRepeatable: false }
  const given: unknown = flag.helpValue
  return {
    ...shared,
    value: flag.options?.join('|') ?? (typeof given === 'string' ? given : 'VALUE'),
    options: flag.options,
    default: flag.default === undefined ? undefined : String(flag.default),
    isRepeatable: flag.multiple ?? false,
  }
}

/** The flags by heading: the command's own first, the global ones last. */
export function groupFlags(flags: readonly FlagModel[]): { group: string; flags: FlagModel[] }[] {
  const rank = (group: string): number => {
    if (group === LAST_GROUP) return GROUP_ORDER.length + 1
    return GROUP_ORDER.includes(group) ? GROUP_ORDER.indexOf(group) : GROUP_ORDER.length
  }
  const groups = new Map<string, FlagModel[]>()
  for (const flag of flags) groups.set(flag.group, [...(groups.get(flag.group) ?? []), flag])
  return [...groups]
    .map(([group, members]) => ({ group, flags: members }))
    .toSorted((a, b) => rank(a.group) - rank(b.group))
}

/** `airgap push BUNDLE REGISTRY [FLAGS]`, with the required flags. */
export function usageOf(command: CommandModel, programName: string): string {
  const required = command.flags
    .filter(({ isRequired }) => isRequired)
    .map(({ name, char, value }) =>
      [char === undefined ? `--${name}` : `-${char}`, value].filter(Boolean).join(' '),
    )
  return [programName, command.name, ...command.args.map(argumentLabel), ...required, '[FLAGS]'].join(' ')
}

/** `BUNDLE`, `[IMAGE...]`. */
export function argumentLabel({ label, options, isRequired, isRepeatable }: ArgumentModel): string {
  const text = `${options?.join('|') ?? label}${isRepeatable ? '...' : ''}`
  return isRequired ? text : `[${text}]`
}

/** A flag's description, with whether it is required or repeatable, and its default. */
export function flagText({ description, isRequired, isRepeatable, default: given }: FlagModel): string {
  const remarks = [
    ...(isRequired ? ['required'] : []),
    ...(isRepeatable ? ['repeatable'] : []),
    ...(given === undefined ? [] : [`default: ${given}`]),
  ]
  return remarks.length === 0 ? description : `${description} (${remarks.join(', ')})`
}
