import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Airgap, describeEnd, RUN_JS } from './parts/airgap.ts'
import { makeCertificates, type Certificates } from './parts/certificates.ts'
import { attempt, type Ended } from './parts/processes.ts'
import { PASSWORD, startDockerRegistry, USER, type Registry } from './parts/registries.ts'
import { scratch } from './parts/scratch.ts'
import { withParts } from './parts/tools.ts'

withParts('login', ['docker-registry', 'htpasswd', 'openssl', 'setpriv'], () => {
  const stack = new AsyncDisposableStack()
  let folder: string
  let certificates: Certificates
  let registry: Registry
  let airgap: Airgap
  let authFile: string

  beforeAll(async () => {
    folder = stack.use(await scratch()).path
    certificates = await makeCertificates(folder)
    registry = stack.use(await startDockerRegistry({ store: folder, scratch: folder, certificates }))
    airgap = new Airgap(folder)
    authFile = `${folder}/auth.json`
  })
  afterAll(() => stack.disposeAsync())

  const login = (password: string): Promise<Ended> =>
    attempt(
      process.execPath,
      [
        RUN_JS,
        'login',
        registry.host,
        '--username',
        USER,
        '--password-stdin',
        '--ca-file',
        certificates.ca,
        '--auth-file',
        authFile,
      ],
      { ...airgap.options, input: password },
    )

  test('with a wrong password', async () => {
    const ended = await login('wrong')
    expect(ended.code, describeEnd(ended)).toBe(5)
    expect(ended.stderr).toContain('not accepted')
  })

  withParts('is found by other tools:', ['skopeo', 'podman'], () => {
    /** Whether a tool may look for an image: what is refused here is that there is none. */
    const skopeo = (): Promise<Ended> =>
      attempt('skopeo', [
        'inspect',
        '--authfile',
        authFile,
        '--cert-dir',
        certificates.folder,
        `docker://${registry.host}/nothing:1`,
      ])

    test('skopeo and podman', async () => {
      const ended = await login(`${PASSWORD}\n`)
      expect(ended.code, describeEnd(ended)).toBe(0)
      expect((await skopeo()).stderr).toMatch(/manifest unknown/)
      const podman = await attempt('podman', ['login', '--authfile', authFile, '--get-login', registry.host])
      expect(podman.stdout, describeEnd(podman)).toBe(`${USER}\n`)
    })

    test('what podman has stored is found, and removed', async () => {
      const flags = ['--authfile', authFile, '--cert-dir', certificates.folder]
      const ended = await attempt(
        'podman',
        ['login', ...flags, '--username', USER, '--password-stdin', registry.host],
        {
          input: PASSWORD,
        },
      )
      expect(ended.code, describeEnd(ended)).toBe(0)
      expect(await airgap.run('logout', registry.host, '--auth-file', authFile)).toContain('Removed')
      expect(await readFile(authFile, 'utf8')).not.toContain(registry.host)
      expect((await skopeo()).stderr).toMatch(/authentication required|unauthorized/)
    })
  })
})
