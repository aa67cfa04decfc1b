import { argumentCandidates, flagCandidates, plainProgram, spellings, type Candidates } from './candidates.ts'
import type { CommandModel, ProgramModel } from './program.ts'

/**
 * Completion for bash 4 or newer, with or without the package bash-completion. The script is self-contained: completing
 * runs no program.
 */
export function bashCompletion(program: ProgramModel, releases: readonly string[]): string {
  const { name, version, commands } = plainProgram(program)
  const names = commands.map((command) => command.name)
  return `# bash completion for ${name} ${version}, made by \`${name} completion bash\`.

# What can follow the flag $2 of the command $1: sets \`wants\` to files, words or nothing, and \`words\`;
# fails if the flag takes no value.
_${name}_flag() {
  words=()
  case "$1 $2" in
${flagCases(commands, releases)}
    *) return 1 ;;
  esac
}

# The same for argument number $2 of the command $1.
_${name}_argument() {
  words=() wants=nothing
  case "$1 $2" in
${argumentCases(commands, names)}
  esac
}

# The flags of the command $1, and which of them can be repeated.
_${name}_flags() {
  repeatable=()
  case $1 in
${commands.map((command) => flagsCase(command)).join('\n')}
    *) words=(--help --version) ;;
  esac
}

_${name}() {
  COMPREPLY=()
  # bash also splits words at = and :. Rejoin parts that have no space between them.
  local typed=() line=\${COMP_LINE:0:COMP_POINT} rest word i
  for ((i = 0; i <= COMP_CWORD; i++)); do
    rest=\${line#"\${line%%[![:space:]]*}"}
    word=\${COMP_WORDS[i]}
    # The word at the cursor ends there.
    ((i < COMP_CWORD)) || word=$rest
    if [[ \${#typed[@]} -gt 0 && $rest == "$line" ]]; then
      typed[\${#typed[@]}-1]+=$word
    else
      typed+=("$word")
    fi
    line=\${rest#"$word"}
  done

  local current=\${typed[\${#typed[@]}-1]} command= given=' ' count=0 plain= pending= wants=nothing
  local words=() repeatable=()
  for ((i = 1; i < \${#typed[@]} - 1; i++)); do
    word=\${typed[i]}
    if [[ $pending ]]; then
      pending=
    elif [[ ! $plain && $word == -- ]]; then
      plain=yes
    elif [[ ! $plain && $word == -?* ]]; then
      given+="\${word%%=*} "
      if [[ $word != *=* ]] && _${name}_flag "$command" "$word"; then pending=$word; fi
    elif [[ ! $command ]]; then
      command=$word
    else
      ((++count))
    fi
  done

  local prefix=
  if [[ $pending ]]; then
    _${name}_flag "$command" "$pending"
  elif [[ ! $plain && $current == --*=* ]]; then
    prefix=\${current%%=*}=
    wants=nothing
    _${name}_flag "$command" "\${current%%=*}" || words=()
  elif [[ ! $plain && $current == -* ]]; then
    _${name}_flags "$command"
    wants=words
    local offered=()
    for word in "\${words[@]}"; do
      if [[ $given != *" $word "* || " \${repeatable[*]} " == *" $word "* ]]; then offered+=("$word"); fi
    done
    words=("\${offered[@]}")
  elif [[ ! $command ]]; then
    wants=words
    words=(${[...names, 'help'].join(' ')})
  else
    _${name}_argument "$command" "$((count + 1))"
  fi

  # For files, offer nothing, so that readline's own completion takes over.
  if [[ $wants == files ]]; then return; fi
  compopt +o default 2> /dev/null
  # If bash splits words at =, its word at the cursor begins after it.
  local head=
  if [[ $COMP_WORDBREAKS == *=* ]]; then head=$prefix; fi
  for word in "\${words[@]}"; do
    word=$prefix$word
    if [[ $word == "$current"* ]]; then COMPREPLY+=("\${word#"$head"}"); fi
  done
}

complete -o default -F _${name} ${name}
`
}

function flagCases(commands: readonly CommandModel[], releases: readonly string[]): string {
  return commands
    .flatMap((command) =>
      command.flags
        .filter(({ value }) => value !== undefined)
        .map((flag) => {
          const patterns = spellings(flag).map((spelling) => `'${command.name} ${spelling}'`)
          return `    ${patterns.join(' | ')}) ${assignment(flagCandidates(flag, releases))} ;;`
        }),
    )
    .join('\n')
}

function argumentCases(commands: readonly CommandModel[], names: readonly string[]): string {
  const lines = commands.flatMap((command) =>
    command.args.map((arg, i) => {
      // A repeatable argument is the last one.
      const position = arg.isRepeatable ? '*' : i + 1
      return `    '${command.name} '${position}) ${assignment(argumentCandidates(arg))} ;;`
    }),
  )
  return [...lines, `    'help 1') ${assignment(names)} ;;`].join('\n')
}

function flagsCase({ name, flags }: CommandModel): string {
  const words = (list: typeof flags): string => list.map((flag) => `--${flag.name}`).join(' ')
  const repeatable = words(flags.filter(({ isRepeatable }) => isRepeatable))
  return `    ${name})\n      words=(${words(flags)})\n      repeatable=(${repeatable})\n      ;;`
}

function assignment(candidates: Candidates): string {
  return typeof candidates === 'string'
    ? `wants=${candidates}`
    : `wants=words words=(${candidates.join(' ')})`
}
