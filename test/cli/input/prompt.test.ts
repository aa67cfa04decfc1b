import { PassThrough } from 'node:stream'
import { expect, it, vi } from 'vitest'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { openSigningKey } from '../../../src/cli/input/private-key.ts'
import { Prompt } from '../../../src/cli/input/prompt.ts'
import { writeKeyPair } from '../../../src/trust/key-files.ts'

function terminal(): { keys: PassThrough; prompt: Prompt; shown: () => string } {
  const [keys, screen] = [new PassThrough(), new PassThrough()]
  let text = ''
  screen.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const prompt = new Prompt(keys, screen)
  onTestFinished(() => prompt[Symbol.dispose]())
  return { keys, prompt, shown: () => text }
}

it('shows a name as it is typed, and a password never', async () => {
  const { keys, prompt, shown } = terminal()
  const name = prompt.ask('Name: ', { isSecret: false })
  keys.write('packeX\x7fr\r')
  expect(await name).toBe('packer')
  const password = prompt.ask('Password: ', { isSecret: true })
  keys.write('hunter2\x7f3\r')
  expect(await password).toBe('hunter3')
  expect(shown()).toMatch(/Name: [^]*packe[^]*Password: \n$/)
  expect(shown()).not.toContain('hunter')
})

it('takes a password that is typed ahead, and does not show it', async () => {
  const { keys, prompt, shown } = terminal()
  const name = prompt.ask('Name: ', { isSecret: false })
  keys.write('packer\rhunter2\r')
  expect(await name).toBe('packer')
  expect(await prompt.ask('Password: ', { isSecret: true })).toBe('hunter2')
  expect(shown()).toContain('packer')
  expect(shown()).not.toContain('hunter')
})

it.each(['\x03', '\x04'])('ends on %j', async (key) => {
  const { keys, prompt } = terminal()
  const password = prompt.ask('Password: ', { isSecret: true })
  keys.write(key)
  await expect(password).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 6 })
})

it('ends with the input', async () => {
  const { keys, prompt } = terminal()
  const password = prompt.ask('Password: ', { isSecret: true })
  keys.end()
  await expect(password).rejects.toMatchObject({ code: 'INTERRUPTED' })
})

it('a key’s password may be typed three times', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'airgap-prompt-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const { privateKeyFile } = await writeKeyPair({ prefix: join(folder, 'k'), password: 'right' })
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  onTestFinished(() => said.mockRestore())
  const typing = (...answers: string[]) => vi.fn(() => Promise.resolve(answers.shift() ?? ''))
  expect(await openSigningKey(privateKeyFile, undefined, typing('a', 'b', 'right'))).toHaveProperty('sign')
  expect(said).toHaveBeenCalledTimes(2)
  const wrong = typing('a', 'b', 'c', 'right')
  await expect(openSigningKey(privateKeyFile, undefined, wrong)).rejects.toMatchObject({ code: 'PASSWORD' })
  expect(wrong).toHaveBeenCalledTimes(3)
  vi.stubEnv('AIRGAP_PASSWORD', 'other')
  onTestFinished(() => {
    vi.unstubAllEnvs()
  })
  const never = typing('right')
  await expect(openSigningKey(privateKeyFile, undefined, never)).rejects.toMatchObject({ code: 'PASSWORD' })
  expect(never).not.toHaveBeenCalled()
})
