import { mkdir, rm } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startInternet } from '../support/internet.ts'
import { Airgap, describeEnd, type PushReceipt } from './parts/airgap.ts'
import { makeCertificates } from './parts/certificates.ts'
import { attempt, type Ended } from './parts/processes.ts'
import {
  PASSWORD,
  requestsIn,
  startDockerRegistry,
  USER,
  writeAuthFile,
  type Registry,
} from './parts/registries.ts'
import { scratch } from './parts/scratch.ts'
import { withParts } from './parts/tools.ts'
import { makeClientCertificate, startNginx, startTinyproxy, trustFor, type Listening } from './parts/way.ts'

const IMAGES = ['registry.k8s.io/pause:3.10.2', 'docker.io/library/nginx:1.29']

withParts(
  'the way there',
  ['docker-registry', 'tinyproxy', 'nginx', 'openssl', 'htpasswd', 'setpriv'],
  () => {
    const stack = new AsyncDisposableStack()
    let folder: string
    let secured: Registry
    let behind: Registry
    let strict: Listening
    let proxy: Listening
    let client: { cert: string; key: string }
    let ca: string

    const environment = (user = 'me:pass%2Dword'): NodeJS.ProcessEnv => ({
      HTTPS_PROXY: `http://${user}@${proxy.host}`,
      // All of it is on this machine.
      AIRGAP_PROXY_LOOPBACK: '1',
      NO_PROXY: strict.host,
    })

    beforeAll(async () => {
      folder = stack.use(await scratch()).path
      const certificates = await makeCertificates(folder)
      ca = certificates.ca
      client = await makeClientCertificate(folder, certificates)
      await Promise.all(['a', 'b'].map((name) => mkdir(`${folder}/${name}`)))
      secured = stack.use(await startDockerRegistry({ store: `${folder}/a`, scratch: folder, certificates }))
      behind = stack.use(await startDockerRegistry({ store: `${folder}/b`, scratch: folder }))
      strict = stack.use(await startNginx(folder, certificates, behind.host))
      proxy = stack.use(await startTinyproxy(folder, { user: 'me', password: 'pass-word' }))
      await trustFor(folder, secured.host, { 'ca.crt': ca })
      await writeAuthFile(`${folder}/auth.json`, [secured.host])
      const internet = stack.use(await startInternet())
      const airgap = new Airgap(folder)
      await airgap.run('keygen')
      const output = ['-o', 'first.tar', '--key', 'airgap.key', '--platform', 'linux/amd64']
      await airgap.run('pack', ...IMAGES, ...output, ...internet.mirrors)
    })
    afterAll(() => stack.disposeAsync())

    const auth = ['--auth-file', 'auth.json']

    test('push and pack go through a proxy with a password, by an authority in certs.d', async () => {
      const airgap = new Airgap(folder, environment())
      const receipt = await airgap.json<PushReceipt>(
        'push',
        'first.tar',
        secured.host,
        '--key',
        'airgap.pub',
        ...auth,
      )
      expect(receipt.images).toHaveLength(IMAGES.length)
      const targets = receipt.images.map(({ target }) => target)
      const packed = await airgap.attempt(
        'pack',
        ...targets,
        '-o',
        'second.tar',
        '--key',
        'airgap.key',
        '--log-format',
        'json',
        ...auth,
      )
      expect(packed.code, describeEnd(packed)).toBe(0)
      const way = packed.stderr.split('\n').find((line) => line.includes('"event":"way"'))
      expect(JSON.parse(way ?? '')).toMatchObject({
        host: secured.host,
        proxy: proxy.host,
        proxyFrom: 'HTTPS_PROXY',
        caFiles: [`${folder}/.config/containers/certs.d/${secured.host}/ca.crt`],
      })
      // The registry has seen nobody but the proxy, and the proxy has seen the registry alone.
      expect(proxy.output()).toContain(`CONNECT ${secured.host}`)
      expect(proxy.output()).not.toContain(strict.host)
      expect(packed.stderr + packed.stdout + secured.output()).not.toMatch(/pass-word|pass%2Dword/)
    })

    test('login asks through the proxy', async () => {
      const flags = ['login', secured.host, '--username', USER, '--password-stdin', '--auth-file', 'new.json']
      const before = proxy.output().length
      const { options } = new Airgap(folder, environment())
      const run = new URL('../../bin/run.js', import.meta.url).pathname
      const ended = await attempt(process.execPath, [run, ...flags], { ...options, input: PASSWORD })
      expect(ended.code, describeEnd(ended)).toBe(0)
      expect(proxy.output().slice(before)).toContain(`CONNECT ${secured.host}`)
    })

    const pull = (env: NodeJS.ProcessEnv, host = secured.host): Promise<Ended> =>
      new Airgap(folder, env).attempt('resolve', `${host}/registry.k8s.io/pause:3.10.2`, ...auth)

    test('a proxy that does not know the user', async () => {
      const wrong = await pull(environment('me:wrong'))
      expect(wrong.code, describeEnd(wrong)).toBe(5)
      expect(wrong.stderr).toMatch(
        /the proxy 127\.0\.0\.1:\d+ from HTTPS_PROXY does not accept the user name/,
      )
      expect(wrong.stderr).not.toContain('me:wrong')
      const { HTTPS_PROXY: _, ...others } = environment()
      const none = await pull({ ...others, HTTPS_PROXY: proxy.host })
      expect(none.stderr).toContain('wants a user name and a password (407)')
    })

    test('a proxy that cannot reach the host', async () => {
      const ended = await pull(environment(), '127.0.0.1:1')
      expect(ended.code, describeEnd(ended)).toBe(4)
      expect(ended.stderr).toMatch(
        /the proxy 127\.0\.0\.1:\d+ from HTTPS_PROXY does not connect to 127\.0\.0\.1:1/,
      )
    })

    test('a registry that wants client certificates: none, an unknown one, the right one', async () => {
      const push = () =>
        new Airgap(folder, environment()).attempt(
          'push',
          'first.tar',
          strict.host,
          '--key',
          'airgap.pub',
          '--receipt',
          'strict.json',
        )
      const untrusted = await push()
      expect(untrusted.stderr).toContain(`/etc/docker/certs.d/${strict.host}/ca.crt`)
      const certs = await trustFor(folder, strict.host, { 'ca.crt': ca })
      const without = await push()
      expect(without.code, describeEnd(without)).toBe(4)
      expect(without.stderr).toContain(`/etc/docker/certs.d/${strict.host}/client.cert`)
      const read = await pull(environment(), strict.host)
      expect(read.code, describeEnd(read)).toBe(4)
      expect(read.stderr).toContain('it wants a client certificate')
      await trustFor(folder, strict.host, {
        'ca.crt': ca,
        'client.cert': client.cert,
        'client.key': client.key,
      })
      const pushed = await push()
      expect(pushed.code, describeEnd(pushed)).toBe(0)
      const targets = IMAGES.map((image) => `${strict.host}/${image}`)
      const airgap = new Airgap(folder, environment())
      await airgap.run('pack', ...targets, '-o', 'third.tar', '--key', 'airgap.key')
      expect(requestsIn(behind.output()).filter((line) => line.startsWith('PUT'))).not.toEqual([])
      await rm(`${certs}/client.key`)
      const half = await pull(environment(), strict.host)
      expect(half.code, describeEnd(half)).toBe(7)
      expect(half.stderr).toContain(`there is no ${certs}/client.key`)
    })

    test('both: client certificates through the proxy', async () => {
      const files = { 'ca.crt': ca, 'client.cert': client.cert, 'client.key': client.key }
      await trustFor(folder, strict.host, files)
      const ended = await pull({ ...environment(), NO_PROXY: '' }, strict.host)
      expect(ended.code, describeEnd(ended)).toBe(0)
      expect(proxy.output()).toContain(`CONNECT ${strict.host}`)
    })
  },
)
