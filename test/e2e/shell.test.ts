import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { withParts } from './parts/tools.ts'

const ROOT = join(import.meta.dirname, '../..')
const MAN_PAGE = join(ROOT, 'docs/man/airgap.1')
const BASH_COMPLETION = '/usr/share/bash-completion/bash_completion'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'airgap-shell-'))
  for (const name of ['k8s.tar', 'my file.tar', 'airgap.pub', 'drive.zsh'])
    await writeFile(join(folder, name), '')
  await writeFile(join(folder, 'drive.zsh'), DRIVER)
  for (const shell of ['bash', 'zsh']) {
    const { stdout } = run(process.execPath, [join(ROOT, 'bin/run.js'), 'completion', shell])
    await writeFile(join(folder, `completion.${shell}`), stdout)
  }
  const { stdout } = run('cat', [join(folder, 'completion.bash')])
  await writeFile(join(folder, 'beside.bash'), `source ${BASH_COMPLETION}\n${stdout}`)
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

function run(
  command: string,
  args: readonly string[],
  input = '',
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(command, args, {
    cwd: folder,
    input,
    encoding: 'utf8',
    timeout: 120_000,
    // Interactive shells keep a history, and zsh what compinit has found, at home.
    env: { PATH: process.env['PATH'], HOME: folder },
  })
}

/**
 * Types each line into an interactive shell on a terminal of its own, presses Tab, and has a key bound to what writes
 * the line that the shell has then into a pipe.
 */
const DRIVER = String.raw`
zmodload zsh/zpty
mkfifo answer
exec 3<>answer
script=$2
if [[ $1 == zsh ]]; then
  zpty sh 'zsh -f -i'
  zpty -w sh "autoload -Uz compinit; compinit -u -D; bindkey -e; source $script; report() { print -r -- \"<\$BUFFER>\" > answer; BUFFER= }; zle -N report; bindkey '^G' report; print ready > answer"
else
  zpty sh 'bash --noprofile --norc -i'
  zpty -w sh "source $script; report() { printf '<%s>\n' \"\$READLINE_LINE\" > answer; READLINE_LINE=; }; bind -x '\"\C-g\": report'; echo ready > answer"
fi
read -r -u 3 line
while IFS= read -r typed; do
  zpty -n -w sh "$typed"$'\t\a'
  IFS= read -r -u 3 line
  print -r -- "$line"
done
zpty -d sh
rm answer
`

/** What is typed, and what stands there after Tab; in zsh where it differs, = as the end of a flag with a value. */
const TYPED: [typed: string, bash: string, zsh?: string][] = [
  ['airgap pa', 'airgap pack '],
  ['airgap help verif', 'airgap help verify '],
  ['airgap completion z', 'airgap completion zsh '],
  ['airgap --ver', 'airgap --version '],
  ['airgap inspect --qu', 'airgap inspect --quiet '],
  ['airgap push --path=s', 'airgap push --path=strip-host '],
  ['airgap push --path s', 'airgap push --path strip-host '],
  ['airgap pack --platform=linux/am', 'airgap pack --platform=linux/amd64 '],
  ['airgap pack nginx:1.2 --forc', 'airgap pack nginx:1.2 --force '],
  ['airgap pack --force --forc', 'airgap pack --force --forc'],
  ['airgap list nginx --exc', 'airgap list nginx --exclude ', 'airgap list nginx --exclude='],
  [
    'airgap list --exclude a --exc',
    'airgap list --exclude a --exclude ',
    'airgap list --exclude a --exclude=',
  ],
  // Files where files are wanted, with what a shell needs to take them for one word; nowhere else.
  ['airgap verify k8', 'airgap verify k8s.tar '],
  ['airgap verify ./k8', 'airgap verify ./k8s.tar '],
  ['airgap verify my', String.raw`airgap verify my\ file.tar `],
  ['airgap verify --key=air', 'airgap verify --key=airgap.pub '],
  ['airgap verify --key air', 'airgap verify --key airgap.pub '],
  ['airgap pack -o k', 'airgap pack -o k8s.tar '],
  ['airgap push k8s.tar air', 'airgap push k8s.tar air'],
  ['airgap pack registry.internal:5000/k8', 'airgap pack registry.internal:5000/k8'],
  ['airgap pack k8', 'airgap pack k8'],
]

/** The lines after Tab. */
function completed(shell: 'bash' | 'zsh', script: string): string[] {
  const input = TYPED.map(([typed]) => `${typed}\n`).join('')
  const { stdout, stderr } = run('zsh', ['-f', 'drive.zsh', shell, `./${script}`], input)
  expect(stderr).toBe('')
  return stdout.split('\n').slice(0, -1)
}

withParts('completion on a terminal', ['zsh'], () => {
  test('in bash', () => {
    expect(completed('bash', 'completion.bash')).toEqual(TYPED.map(([, bash]) => `<${bash}>`))
  })

  test.runIf(existsSync(BASH_COMPLETION))('in bash with the package bash-completion', () => {
    expect(completed('bash', 'beside.bash')).toEqual(TYPED.map(([, bash]) => `<${bash}>`))
  })

  test('in zsh', () => {
    expect(completed('zsh', 'completion.zsh')).toEqual(TYPED.map(([, bash, zsh = bash]) => `<${zsh}>`))
  })

  test('in zsh from a folder of fpath', () => {
    const { stdout, stderr } = run(
      'zsh',
      ['-f'],
      'mkdir -p site; cp completion.zsh site/_airgap; fpath=($PWD/site $fpath); autoload -Uz compinit; compinit -u -D\nprint -r -- $_comps[airgap]\n',
    )
    expect(stderr).toBe('')
    expect(stdout).toBe('_airgap\n')
  })
})

withParts('the man page', ['man', 'mandoc'], () => {
  test('is sound to mandoc', () => {
    const { stdout } = run('mandoc', ['-Tlint', '-Wwarning', MAN_PAGE])
    // It has no date on purpose: it changes when the commands change.
    expect(stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date'))).toEqual([])
  })

  test.each([80, 200])('is printed by man at %i columns, without a word broken', (width) => {
    const { status, stdout, stderr } = spawnSync('man', ['--warnings', '-l', MAN_PAGE], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], MANWIDTH: String(width), MANPAGER: 'cat', LC_ALL: 'C.UTF-8' },
    })
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(stdout).not.toContain('\u2010')
    expect(stdout).toContain('--insecure-skip-tls-verify')
    expect(stdout.split('\n').filter((line) => line.length > width)).toEqual([])
  })
})
