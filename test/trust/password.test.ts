import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { passwordSource } from '../../src/trust/password.ts'
import { errorOf, temporaryFile, temporaryFolder } from './helpers.ts'

const prompt = () => Promise.resolve('from the prompt')

describe('passwordSource', () => {
  it('takes the file, then our variable, then cosign’s, then the prompt', async () => {
    const file = await temporaryFile('from the file\n')
    const ours = { AIRGAP_PASSWORD: 'ours' }
    const cosigns = { COSIGN_PASSWORD: "cosign's" }
    expect(await passwordSource({ env: { ...ours, ...cosigns }, file, prompt })()).toBe('from the file')
    expect(await passwordSource({ env: { ...ours, ...cosigns }, prompt })()).toBe('ours')
    expect(await passwordSource({ env: cosigns, prompt })()).toBe("cosign's")
    expect(await passwordSource({ env: {}, prompt })()).toBe('from the prompt')
    expect(await passwordSource({ env: {} })()).toBeUndefined()
  })

  it('takes an empty variable for an empty password, as cosign does', async () => {
    expect(await passwordSource({ env: { AIRGAP_PASSWORD: '' }, prompt })()).toBe('')
    expect(await passwordSource({ env: { COSIGN_PASSWORD: '' }, prompt })()).toBe('')
  })

  it.each([
    ['secret', 'secret'],
    ['secret\n', 'secret'],
    ['secret\r\n', 'secret'],
    ['secret\n\n', 'secret\n'],
    [' se cret \n', ' se cret '],
    ['\n', ''],
    ['', ''],
    ['pä密', 'pä密'],
  ])('reads the file %j as %j', async (contents, password) => {
    expect(await passwordSource({ env: {}, file: await temporaryFile(contents) })()).toBe(password)
  })

  it('refuses a file that is not UTF-8, and does not show it', async () => {
    const file = await temporaryFile(Buffer.from('hunter2\xff', 'latin1'))
    const error = await errorOf(passwordSource({ env: {}, file }))
    expect(error.code).toBe('PASSWORD')
    expect(error.message).toContain(file)
    expect(error.message).not.toContain('hunter2')
  })

  it('names a missing file, and one that is too large', async () => {
    const missing = join(await temporaryFolder(), 'none')
    expect((await errorOf(passwordSource({ env: {}, file: missing }))).message).toContain(missing)
    const large = await temporaryFile('x'.repeat(64 * 1024 + 1))
    expect((await errorOf(passwordSource({ env: {}, file: large }))).message).toContain('64 KiB')
  })

  it('asks nobody and reads nothing until it is called', async () => {
    let asked = 0
    const source = passwordSource({ env: {}, prompt: () => Promise.resolve(`${++asked}`) })
    expect(asked).toBe(0)
    expect(await source()).toBe('1')
  })
})
