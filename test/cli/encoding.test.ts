import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { encodingFault } from '../../src/cli/words/usage-error.ts'
import { CredentialStore } from '../../src/registry/auth/credentials.ts'
import { scratch } from '../support/airgap.ts'

const RUN = join(import.meta.dirname, '../../bin/run.js')

describe('what is not UTF-8', () => {
  test('a name in an argument is refused, and no file of another name is made', async () => {
    await using folder = await scratch()
    // Node.js itself passes no such argument on.
    const script = `F=$(printf 'caf\\351'); "$0" "$1" keygen --output-key-prefix "$F" --json; echo "exit $?"`
    const { stdout } = await promisify(execFile)('sh', ['-c', script, process.execPath, RUN], {
      cwd: folder.path,
      env: { PATH: process.env.PATH, HOME: '/nonexistent', AIRGAP_PASSWORD: 'corr3ct-horse' },
    })
    expect(stdout).toMatch(/"code": "USAGE",\s+"message": "argument 3, .* is not UTF-8"[^]*exit 2\n$/)
    expect(await readdir(folder.path)).toEqual([])
  })

  test('so is a variable that names a file or holds a password, and the present folder; others are let be', () => {
    const fault = (args: string[], env: NodeJS.ProcessEnv, folder = '/x'): string | undefined =>
      encodingFault(args, env, folder)?.message
    expect(fault(['verify', 'k8s.tar'], { AIRGAP_PASSWORD: 'é', LESS_TERMCAP: '\uFFFD' })).toBeUndefined()
    expect(fault([], { AIRGAP_PASSWORD: 's3cret\uFFFD' })).toBe('the variable AIRGAP_PASSWORD is not UTF-8')
    expect(fault([], { XDG_STATE_HOME: '/home/\uFFFD' })).toBe('the variable XDG_STATE_HOME is not UTF-8')
    expect(fault([], {}, '/home/caf\uFFFD')).toMatch(/^the name of the current folder, .* is not UTF-8$/)
    expect(fault(['list', 'x\uFFFD'], {})).toMatch(/^argument 2, "x\uFFFD", is not UTF-8$/)
  })

  test('a registry password in a file is refused, not changed', async () => {
    await using folder = await scratch()
    await writeFile(folder.file('password'), Buffer.from([0x63, 0xe9]))
    const env = {
      AIRGAP_REGISTRY: 'r.example',
      AIRGAP_REGISTRY_USERNAME: 'u',
      AIRGAP_REGISTRY_PASSWORD_FILE: folder.file('password'),
    }
    await expect(new CredentialStore({ env }).find('r.example', 'r.example/app')).rejects.toMatchObject({
      code: 'CREDENTIALS',
      message: expect.stringMatching(/is not UTF-8$/) as string,
    })
    expect(existsSync(folder.file('password'))).toBe(true)
  })
})
