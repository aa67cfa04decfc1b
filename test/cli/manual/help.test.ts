import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Parser, type Config } from '@oclif/core'
import { beforeAll, describe, expect, it } from 'vitest'
import { unknownCommand } from '../../../src/cli/words/command-not-found.ts'
import { commandScreen, rootScreen } from '../../../src/cli/manual/screens.ts'
import { EXIT_STATUS, WHOLE_JOB } from '../../../src/cli/manual/topics.ts'
import { describeProgram, type ProgramModel } from '../../../src/cli/manual/program.ts'
import { EXIT_CODES } from '../../../src/errors.ts'
import { airgap, residentAirgap } from '../../support/airgap.ts'
import { loadConfig, ROOT } from '../program.ts'

let config: Config
let program: ProgramModel

beforeAll(async () => {
  config = await loadConfig()
  program = describeProgram(config)
})

const order = (text: string, ...parts: string[]): number[] => parts.map((part) => text.indexOf(`\n${part}\n`))

describe('help of a command', () => {
  it('shows the examples first, then what it does, its arguments and its flags, the global ones last', async () => {
    const { code, stdout, stderr } = await airgap(['push', '--help'])
    expect(code).toBe(0)
    expect(stderr).toBe('')
    expect(stdout.startsWith('Verify a bundle and push it to a private registry\n\nUSAGE\n')).toBe(true)
    const places = order(
      stdout,
      'USAGE',
      'EXAMPLES',
      'DESCRIPTION',
      'ARGUMENTS',
      'FLAGS',
      'TRUST FLAGS',
      'REGISTRY FLAGS',
      'GLOBAL FLAGS',
      'EXIT CODES',
    )
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect(places).not.toContain(-1)
    expect(stdout).toContain('  airgap push BUNDLE REGISTRY [FLAGS]\n')
    expect(stdout).toMatch(/--path full\|strip-host\|flat .*\n.*\n +\(default: full\)/)
  })

  it('is the same by every way of asking', async () => {
    const [first, ...others] = await Promise.all(
      [
        ['pack', '--help'],
        ['pack', '-h'],
        ['help', 'pack'],
        ['pack', 'nginx', '-o', 'x', '--help'],
      ].map(async (args) => (await residentAirgap(args)).stdout),
    )
    expect(first).toContain('airgap pack [IMAGE...] -o FILE [FLAGS]')
    for (const other of others) expect(other).toBe(first)
  })

  it('has no control codes in a pipe, and lines of at most 80 characters', async () => {
    const { stdout } = await airgap(['pack', '--help'], { env: { COLUMNS: '200', FORCE_COLOR: '1' } })
    expect(stdout).not.toContain('\u001b')
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
  })

  it.each([40, 80, 100])('fits %i columns', (width) => {
    const screens = [
      rootScreen(program, { width }),
      ...program.commands.map((command) => commandScreen(program, command, { width })),
    ]
    const tooLong = screens
      .flatMap((screen) => screen.split('\n'))
      .filter((line) => line.length > width)
      // What is one word, or a flag with its value, is not broken.
      .filter((line) => !/^ *([->]\S* )?\S+( \\)?$/.test(line))
    expect(tooLong).toEqual([])
  })

  it('says of every command, argument and flag what it is, and gives examples', () => {
    for (const { name, summary, args, flags, examples } of program.commands) {
      expect(summary, name).toMatch(/^[A-Z].*[^.]$/)
      expect(summary.length, name).toBeLessThanOrEqual(70)
      expect(examples.length, name).toBeGreaterThan(0)
      for (const { label, description } of args) expect(description, `${name} ${label}`).not.toBe('')
      for (const flag of flags) {
        expect(flag.description, `${name} --${flag.name}`).not.toBe('')
        expect(flag.value, `${name} --${flag.name} has no name for its value`).not.toBe('VALUE')
      }
    }
  })
})

describe('help of the program', () => {
  it('is the same by every way of asking', async () => {
    const [first, ...others] = await Promise.all(
      [[], ['--help'], ['-h'], ['help'], ['help', '--help']].map(async (args) => await residentAirgap(args)),
    )
    expect(first?.code).toBe(0)
    for (const other of others) expect(other.stdout).toBe(first?.stdout)
  })

  it('begins with the whole job, and lists the commands in its order', async () => {
    const { stdout } = await residentAirgap([])
    const places = order(stdout, 'USAGE', 'EXAMPLES', 'COMMANDS', 'FLAGS', 'EXIT CODES')
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect(places).not.toContain(-1)
    const names = [...stdout.matchAll(/^ {4}([a-z-]+) {2,}[A-Z]/gm)].map(([, name = '']) => name)
    expect(names.toSorted()).toEqual(config.commandIDs.toSorted())
    const job = ['list', 'resolve', 'pack', 'inspect', 'verify', 'push', 'keygen']
    expect(names.filter((name) => job.includes(name))).toEqual(job)
  })

  it('explains every exit code that there is', () => {
    const codes = new Set<number>(Object.values(EXIT_CODES))
    expect(EXIT_STATUS.map(([code]) => code)).toEqual([0, ...[...codes].toSorted((a, b) => a - b)])
  })
})

/** The words after `airgap` in a line for a shell, up to what belongs to the shell. */
function wordsAfterAirgap(line: string): string[] {
  const words = (line.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? []).map((word) =>
    word.replaceAll(/["']/g, ''),
  )
  const start = words.findIndex((word) => /^(<\()?airgap$/.test(word))
  const rest = words.slice(start + 1).map((word) => word.replace(/\)$/, ''))
  const end = rest.findIndex((word) => /^[|<>&;]/.test(word))
  return end < 0 ? rest : rest.slice(0, end)
}

async function parse(line: string): Promise<void> {
  const [id = '', ...argv] = wordsAfterAirgap(line)
  const found = config.findCommand(id)
  if (!found) throw new Error(`no command in ${line}`)
  const { args, flags, baseFlags, strict } = await found.load()
  await Parser.parse(argv, { args, flags: { ...baseFlags, ...flags }, strict })
}

describe('every example', () => {
  it('in help is understood by its command', async () => {
    const lines = [
      ...program.commands.flatMap(({ name, examples }) =>
        examples.map(({ command }) => {
          expect(command, name).toMatch(new RegExp(`\\bairgap ${name}\\b`))
          expect(command).not.toContain('<%')
          return command
        }),
      ),
      ...WHOLE_JOB.flatMap(({ commands }) => commands),
    ]
    expect(lines.length).toBeGreaterThan(15)
    for (const line of lines) await expect(parse(line), line).resolves.toBeUndefined()
  })

  it('in README.md is understood by its command', async () => {
    const text = readFileSync(join(ROOT, 'README.md'), 'utf8')
    const lines = [...text.matchAll(/^ {4}(airgap .*)$/gm)].map(([, line]) => line ?? '')
    expect(lines.length).toBeGreaterThan(3)
    for (const line of lines) await expect(parse(line), line).resolves.toBeUndefined()
  })

  it('would be found out if it were wrong', async () => {
    await expect(parse('airgap pack nginx -o x --plattform linux/amd64')).rejects.toThrow(/flag/)
    await expect(parse('airgap push k8s.tar')).rejects.toThrow(/required arg/)
  })
})

describe('a mistyped command', () => {
  it.each([
    [['lsit', 'nginx:1.29'], 'airgap list'],
    [['help', 'pusch'], 'airgap push'],
    [['pakc', '--help'], 'airgap pack'],
  ])('%j names %s', async (args, meant) => {
    const { code, stdout, stderr } = await residentAirgap(args)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain(`Did you mean \`${meant}\`?`)
  })

  it('is found by its beginning, and in capitals', () => {
    expect(unknownCommand('res', config.commandIDs).hint).toContain('Did you mean `airgap resolve`?')
    expect(unknownCommand('VERFY', config.commandIDs).hint).toContain('Did you mean `airgap verify`?')
  })

  it.each([
    ['pull', 'airgap pack'],
    ['save', 'airgap pack'],
    ['load', 'airgap push'],
    ['import', 'airgap push'],
    ['mirror', 'airgap pack'],
    ['version', 'airgap --version'],
    ['Pull', 'airgap pack'],
  ])('%s, which others have, is called %s here', async (word, meant) => {
    const { code, stderr } = await residentAirgap([word, 'nginx:1.29'])
    expect(code).toBe(2)
    expect(stderr).toContain(`there is no command "${word}"`)
    expect(stderr).toContain(`\`${meant}\``)
    expect(stderr).not.toContain('Did you mean')
  })

  it('that is near to nothing gets the list only', async () => {
    const { code, stderr } = await residentAirgap(['frobnicate'])
    expect(code).toBe(2)
    expect(stderr).toContain('there is no command "frobnicate"')
    expect(stderr).not.toContain('Did you mean')
    expect(stderr).toContain(`The commands are ${config.commandIDs.toSorted().join(', ')}. `)
  })

  it('is told apart from a flag before the command', async () => {
    const { code, stderr } = await residentAirgap(['--platform', 'linux/amd64', 'pack'])
    expect(code).toBe(2)
    expect(stderr).toContain('the command must come first, not "--platform"')
  })

  it('cannot reach the terminal with control characters', async () => {
    const { stderr } = await residentAirgap(['\u001b[31mlist\u202e', '--help'])
    for (const character of ['\u001b', '\u202e']) expect(stderr).not.toContain(character)
  })
})

describe('a mistyped flag', () => {
  it.each([
    [['pack', 'nginx', '--platfrom', 'linux/amd64', '-o', 'x'], '--platfrom', '--platform'],
    [['pack', 'nginx', '--platfrom=linux/amd64'], '--platfrom', '--platform'],
    [['list', '--image-from', 'x'], '--image-from', '--images-from'],
    [['list', '--jsno'], '--jsno', '--json'],
  ])('%j names the flag that was meant', async (args, typed, meant) => {
    const { code, stdout, stderr } = await residentAirgap(args)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain(`there is no flag ${typed}\nDid you mean ${meant}?`)
    expect(stderr).toContain(`\`airgap ${args[0]} --help\``)
  })

  it('does not repeat the value, which may have been a secret', async () => {
    const { code, stdout, stderr } = await residentAirgap(['pack', 'nginx', '--pasword=hunter2', '--json'])
    expect(code).toBe(2)
    expect(stdout + stderr).not.toContain('hunter2')
    expect(stdout).toContain('there is no flag --pasword')
  })

  it('that is near to nothing leads to the help', async () => {
    const { code, stderr } = await residentAirgap(['inspect', 'a', '--frobnicate', '-z'])
    expect(code).toBe(2)
    expect(stderr).not.toContain('Did you mean')
    expect(stderr).toContain('there is no flag --frobnicate or -z')
  })
})

it('what is missing, too many or wrong is said in words', async () => {
  const said = async (...args: string[]): Promise<string> => {
    const { code, stderr } = await residentAirgap(args)
    expect(code).toBe(2)
    return stderr
  }
  expect(await said('push')).toBe(
    'Error: missing: BUNDLE (The bundle file) and REGISTRY (REGISTRY or REGISTRY/PREFIX)\n`airgap push --help` shows the usage.\n',
  )
  expect(await said('inspect', 'a', 'b', 'c')).toContain('Error: too many arguments: b c\n')
  expect(await said('completion')).toContain('missing: SHELL (bash or zsh)')
  expect(await said('pack', 'nginx')).toContain('Missing required flag --output')
  expect(await said('pack', 'nginx', '-o', 'x', '--sequence', 'one')).toContain('Error: --sequence: ')
})
