import { access, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Config } from '@oclif/core'
import { expect, it } from 'vitest'
import { COMMANDS, DESCRIPTIONS } from '../../src/cli/plugin.ts'
import { THREADS } from '../../src/threads.ts'
import { airgap, residentAirgap } from '../support/airgap.ts'

const root = join(import.meta.dirname, '../..')

it('every file in src/commands is a command', async () => {
  const files = await readdir(join(root, 'src/commands'))
  expect(Object.keys(COMMANDS).toSorted()).toEqual(files.map((file) => file.replace('.ts', '')).toSorted())
})

it('what the build has written down is what the commands say of themselves', async () => {
  const { commands } = await Config.load({ root, ignoreManifest: true })
  const described = JSON.parse(await readFile(join(root, DESCRIPTIONS), 'utf8')) as unknown
  expect(described).toEqual(JSON.parse(JSON.stringify(commands)))
  expect(commands.map(({ id }) => id)).toEqual(Object.keys(COMMANDS).toSorted())
})

it('every thread has its program', async () => {
  for (const path of Object.values(THREADS)) await access(join(root, `src/${path}.ts`))
})

it('the version is said as oclif says it', async () => {
  const { userAgent } = await Config.load({ root })
  for (const flag of ['--version', '-V']) {
    expect((await airgap([flag])).stdout.replace(/^(\S+ )wsl/, '$1linux')).toBe(`${userAgent}\n`)
  }
})

it('what is no command is said to be none, whatever comes with it', async () => {
  for (const args of [['nope'], ['nope', '--help'], ['help', 'nope'], ['constructor'], ['--nope']]) {
    const { code, stderr } = await residentAirgap(args)
    expect(stderr).toContain(`"${args.find((arg) => arg !== 'help')}"`)
    expect(stderr).toMatch(/there is no command|the command must come first/)
    expect(code).toBe(2)
  }
})

it('help is shown for every command, by either name', async () => {
  const { stdout } = await airgap(['push', '--help'])
  expect(stdout).toContain('airgap push')
  expect((await residentAirgap(['help', 'push'])).stdout).toBe(stdout)
  expect((await residentAirgap([])).stdout).toContain('Verify a bundle completely, offline')
})

it.each([
  ['list', 'nginx'],
  ['inspect', 'none.tar'],
  ['verify', 'none.tar', '--integrity-only'],
])('%s does not load the HTTP client, which is a third of the start of those that do', async (...args) => {
  const hook = `import { registerHooks } from 'node:module'
    registerHooks({ load(url, context, next) {
      if (url.includes('/undici/')) process.stderr.write('LOADED ' + url)
      return next(url, context)
    } })`
  const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(hook)}`
  const { stdout, stderr } = await airgap(args, { env: { NODE_OPTIONS } })
  expect(stdout + stderr).toMatch(/nginx|none\.tar/)
  expect(stderr).not.toContain('LOADED')
})
