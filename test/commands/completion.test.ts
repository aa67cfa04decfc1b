import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { bashCompletion } from '../../src/cli/manual/bash.ts'
import { flagCandidates } from '../../src/cli/manual/candidates.ts'
import { zshCompletion } from '../../src/cli/manual/zsh.ts'
import { residentAirgap as airgap, scratch } from '../support/airgap.ts'
import { loadProgram } from '../cli/program.ts'
import { expectResult } from '../support/schemas.ts'
import type { ProgramModel } from '../../src/cli/manual/program.ts'

const hasBash = spawnSync('bash', ['-c', 'exit 0']).status === 0

let program: ProgramModel
let script: string

beforeAll(async () => {
  program = await loadProgram()
  script = bashCompletion(program, ['v1.35.7', 'v1.36.3'])
})

/** What bash would offer: the words, or `files` where readline's own completion takes over. */
type Offer = string[] | 'files'

/** Calls the script's function as bash does when Tab is pressed at the end of each line. */
function offers(
  lines: readonly string[],
  { source = script, breaks = ' \t\n"\'><=;|&(:', options = '' } = {},
): Offer[] {
  const calls = lines.map((line) => {
    const words = split(line, breaks)
    const quoted = words.map(quote).join(' ')
    return `ask ${quote(line)} ${quoted}`
  })
  const driver = [
    options,
    source,
    // Outside of a completion the builtin would fail; this one records that readline's files were turned off.
    'compopt() { files=no; }',
    'ask() {',
    '  files=yes COMP_LINE=$1 COMP_POINT=${#1}; shift; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))',
    '  _airgap airgap "${COMP_WORDS[COMP_CWORD]}"',
    `  printf '%s' "$files"; ((\${#COMPREPLY[@]} == 0)) || printf '\\t%s' "\${COMPREPLY[@]}"; echo`,
    '}',
    `COMP_WORDBREAKS=${quote(breaks)}`,
    ...calls,
  ].join('\n')
  const { status, stdout, stderr } = spawnSync('bash', ['--noprofile', '--norc'], {
    input: driver,
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  const rows = stdout.split('\n').slice(0, -1)
  expect(rows.length).toBe(lines.length)
  return rows.map((row) => {
    const [files, ...words] = row.split('\t')
    return files === 'yes' && words.length === 0 ? 'files' : words
  })
}

/** As bash fills COMP_WORDS: split at spaces, and around = and : where those are among COMP_WORDBREAKS. */
function split(line: string, breaks: string): string[] {
  const marks = ['=', ':'].filter((mark) => breaks.includes(mark)).join('')
  const words = line
    .split(/\s+/)
    .flatMap((word) =>
      marks === '' ? [word] : word.split(new RegExp(`([${marks}])`)).filter((part) => part !== ''),
    )
  return /[\s=:]$/.test(line) && words.at(-1) !== '' ? [...words, ''] : words
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

describe.skipIf(!hasBash)('completion in bash', () => {
  it.each([
    ['airgap p', ['pack', 'push', 'policy']],
    ['airgap help ver', ['verify']],
    ['airgap completion ', ['bash', 'zsh']],
    ['airgap --v', ['--version']],
    ['airgap pack --pl', ['--platform', '--plain-http']],
    ['airgap push --path ', ['full', 'strip-host', 'flat']],
    ['airgap push --path=', ['full', 'strip-host', 'flat']],
    ['airgap push --path=s', ['strip-host']],
    ['airgap pack --platform=linux/am', ['linux/amd64']],
    ['airgap pack --kubeadm v1.3', ['v1.35.7', 'v1.36.3']],
    ['airgap pack nginx:1.29 --forc', ['--force']],
    ['airgap pack host:5000/a@sha256:12 -o x.tar --forc', ['--force']],
    // Once given, only what can be given again.
    ['airgap pack --force --forc', []],
    ['airgap pack --platform linux/amd64 --platf', ['--platform']],
    ['airgap pack --platform=linux/amd64 --platf', ['--platform']],
    ['airgap pack --output=x --outp', []],
    // Nothing is known of these, and files are none of them.
    ['airgap pack ', []],
    ['airgap pack nginx:1.', []],
    ['airgap push k8s.tar ', []],
    ['airgap pack --exclude ', []],
    ['airgap pack --mirror=docker.io=', []],
    ['airgap nonsense ', []],
    ['airgap pack -- --for', []],
    // Files.
    ['airgap verify ', 'files'],
    ['airgap verify -- ', 'files'],
    ['airgap verify -q k8', 'files'],
    ['airgap verify --key a', 'files'],
    ['airgap verify --key=a', 'files'],
    ['airgap verify --key a --key b k8', 'files'],
    ['airgap pack -o ', 'files'],
    ['airgap pack --images-from li', 'files'],
    ['airgap push --path full k8', 'files'],
  ] satisfies [string, Offer][])('%s', (line, expected) => {
    expect(offers([line])).toEqual([expected])
  })

  it('offers every command, every flag and every fixed value', () => {
    const lines: string[] = ['airgap ']
    const expected: Offer[] = [[...program.commands.map(({ name }) => name), 'help']]
    for (const { name, flags } of program.commands) {
      lines.push(`airgap ${name} --`)
      expected.push(flags.map((flag) => `--${flag.name}`))
      for (const flag of flags.filter(({ value }) => value !== undefined)) {
        const candidates = flagCandidates(flag, ['v1.35.7', 'v1.36.3'])
        const offer = candidates === 'nothing' ? [] : candidates === 'files' ? 'files' : [...candidates]
        const spellings = [`--${flag.name} `, `--${flag.name}=`, ...(flag.char ? [`-${flag.char} `] : [])]
        for (const spelling of spellings) {
          lines.push(`airgap ${name} ${spelling}`)
          expected.push(offer)
        }
      }
    }
    expect(offers(lines)).toEqual(expected)
  })

  it('replaces what bash takes for the word, whatever it splits words at', () => {
    const breaks = ' \t\n"\'><;|&('
    expect(offers(['airgap push --path=s', 'airgap pack a:b --forc'], { breaks })).toEqual([
      ['--path=strip-host'],
      ['--force'],
    ])
  })

  it('works in a shell that is strict with variables', () => {
    expect(offers(['airgap ', 'airgap pack --no', 'airgap verify x'], { options: 'set -u' })).toEqual([
      [...program.commands.map(({ name }) => name), 'help'],
      ['--no-sign'],
      'files',
    ])
  })

  it('ends at the cursor', () => {
    const driver = `${script}
COMP_LINE='airgap pa --force' COMP_POINT=9 COMP_WORDS=(airgap pa --force) COMP_CWORD=1
_airgap; printf '%s\\n' "\${COMPREPLY[@]}"`
    expect(spawnSync('bash', [], { input: driver, encoding: 'utf8' }).stdout).toBe('pack\n')
  })
})

describe('the scripts', () => {
  it('are printed by the command, for bash and zsh only', async () => {
    const bash = await airgap(['completion', 'bash'])
    expect(bash).toMatchObject({ code: 0, stderr: '' })
    expect(bash.stdout).toContain('complete -o default -F _airgap airgap\n')
    const [zsh, same] = await Promise.all([
      airgap(['completion', 'zsh', '--json']),
      airgap(['completion', 'bash', '--json']),
    ])
    for (const { json } of [zsh, same]) expectResult('completion', json())
    expect(same.json()).toMatchObject({ shell: 'bash', script: bash.stdout })
    expect(zsh.json()).toMatchObject({ shell: 'zsh', script: expect.stringMatching(/^#compdef airgap\n/) })
    const fish = await airgap(['completion', 'fish'])
    expect(fish.code).toBe(2)
    expect(fish.stderr).toContain('bash, zsh')
  })

  it.skipIf(!hasBash)('run nothing that a name or a description holds', async () => {
    await using folder = await scratch()
    const trap = `$(touch ${folder.file('caught')})`
    const flag = { group: '', isRequired: false, isRepeatable: false, description: `'${trap}' [x]:y` }
    const hostile: ProgramModel = {
      ...program,
      commands: [
        { name: `a;${trap}`, summary: '', description: '', examples: [], args: [], flags: [] },
        {
          name: 'good',
          summary: `${trap}'\``,
          description: '',
          examples: [],
          args: [],
          flags: [
            { ...flag, name: 'sound', value: 'X', options: ['fine', trap, '`id`', '*'] },
            { ...flag, name: `odd ${trap}` },
          ],
        },
      ],
    }
    const source = bashCompletion(hostile, [trap, 'v1'])
    expect(offers(['airgap ', 'airgap good --', 'airgap good --sound '], { source })).toEqual([
      ['good', 'help'],
      ['--sound'],
      ['fine'],
    ])
    // bash reads enough of zsh's language to tell whether a quote ends where it should.
    const zsh = zshCompletion(hostile, [trap])
    const quoted = zsh.split('\n').filter((line) => line.includes('touch'))
    expect(quoted.length).toBeGreaterThan(1)
    await writeFile(folder.file('words'), quoted.map((line) => `: ${line.replace(/ \\$/, '')}`).join('\n'))
    expect(spawnSync('bash', [folder.file('words')], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    })
    expect(existsSync(folder.file('caught'))).toBe(false)
  })
})
