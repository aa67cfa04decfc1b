import { argumentCandidates, flagCandidates, plainProgram, type Candidates } from './candidates.ts'
import type { ArgumentModel, CommandModel, FlagModel, ProgramModel } from './program.ts'

/**
 * Completion for zsh: source it after compinit, or put it into a folder of `fpath` as `_airgap`. The script is
 * self-contained.
 */
export function zshCompletion(program: ProgramModel, releases: readonly string[]): string {
  const { name, version, commands } = plainProgram(program)
  return `#compdef ${name}
# zsh completion for ${name} ${version}, made by \`${name} completion zsh\`.

_${name}_commands() {
  local -a commands=(
${commands.map((command) => `    ${quoted(`${command.name}:${escaped(command.summary)}`)}`).join('\n')}
    'help:Show the help of a command'
  )
  _describe -t commands command commands
}

_${name}() {
  local curcontext=$curcontext state line
  local -A opt_args
  _arguments -C -S \\
    '(- *)'{-h,--help}'[Show the help]' \\
    '(- *)'{-V,--version}'[Show the version]' \\
    '1: :_${name}_commands' \\
    '*:: :->arguments' && return
  [[ $state == arguments ]] || return
  curcontext="\${curcontext%:*:*}:${name}-$words[1]:"
  case $words[1] in
${commands.map((command) => commandCase(command, releases)).join('\n')}
    help) _arguments '1: :_${name}_commands' ;;
    *) _message 'no such command' ;;
  esac
}

if [[ $funcstack[1] == _${name} ]]; then
  _${name} "$@"
elif (( $+functions[compdef] )); then
  compdef _${name} ${name}
else
  print -u2 '${name} completion: run compinit first (autoload -Uz compinit; compinit)'
fi
`
}

function commandCase({ name, flags, args }: CommandModel, releases: readonly string[]): string {
  const specs = [
    ...flags.map((flag) => flagSpec(flag, releases)),
    ...args.map((arg, i) => argumentSpec(arg, i + 1)),
  ]
  return `    ${name})\n      _arguments -s -S \\\n${specs.map((spec) => `        ${spec}`).join(' \\\n')}\n      ;;`
}

/** A flag in the syntax of `_arguments`: exclusions, spellings, description, value. */
function flagSpec(flag: FlagModel, releases: readonly string[]): string {
  const { name, char, value, description, isRepeatable } = flag
  const about = `[${escaped(description)}]`
  const tail =
    value === undefined ? about : `${about}:${escaped(value)}:${action(flagCandidates(flag, releases))}`
  const long = value === undefined ? `--${name}` : `--${name}=`
  if (char === undefined) return quoted(`${isRepeatable ? '*' : ''}${long}${tail}`)
  const short = value === undefined ? `-${char}` : `-${char}+`
  const exclusion = isRepeatable ? '*' : `(-${char} --${name})`
  return `${quoted(exclusion)}{${short},${long}}${quoted(tail)}`
}

function argumentSpec(arg: ArgumentModel, position: number): string {
  const place = arg.isRepeatable ? '*' : String(position)
  return quoted(`${place}:${escaped(arg.label)}:${action(argumentCandidates(arg))}`)
}

function action(candidates: Candidates): string {
  if (candidates === 'files') return '_files'
  // An empty list. A space would do for a flag's value, but for an argument it would keep flags from being offered.
  return candidates === 'nothing' ? '()' : `(${candidates.join(' ')})`
}

/** Escapes text within a specification, where brackets and colons are delimiters. */
function escaped(text: string): string {
  return text.replaceAll(/[\\[\]:]/g, '\\$&').replaceAll(/\s+/g, ' ')
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
