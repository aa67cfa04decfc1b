import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { seedRegistry, singleManifest } from '../../fixtures/images/index.ts'
import { MemoryStore } from '../support/registry/memory-store.ts'
import { checkLoginInput } from '../../src/cli/input/login-input.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { residentAirgap, scratch, type Outcome, type RunOptions } from '../support/airgap.ts'
import { expectResult, logLines } from '../support/schemas.ts'

const PASSWORD = 'corr3ct horse:bättery'
const WRONG = 'wr0ng horse'
/** What must never be printed: passwords, as they are and as headers and files have them. */
const SECRETS = [PASSWORD, WRONG].flatMap((password) => [
  password,
  Buffer.from(`packer:${password}`).toString('base64'),
])

let basic: EmbeddedRegistry
let bearer: EmbeddedRegistry
let open: EmbeddedRegistry
let folder: Awaited<ReturnType<typeof scratch>>
let outputs: string[] = []

beforeAll(async () => {
  const store = new MemoryStore()
  seedRegistry(store, 'team/app:1', await singleManifest())
  const users = { packer: PASSWORD }
  basic = await startRegistry({ store, auth: { basic: users } })
  bearer = await startRegistry({ store, auth: { bearer: { users } } })
  open = await startRegistry({ store })
})
afterAll(async () => {
  await Promise.all([basic, bearer, open].map((registry) => registry.close()))
})
beforeEach(async () => {
  outputs = []
  folder = await scratch()
})
afterEach(async () => {
  for (const output of outputs) for (const secret of SECRETS) expect(output).not.toContain(secret)
  await folder[Symbol.asyncDispose]()
})

async function run(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const env = { HOME: folder.path, ...options.env }
  const outcome = await residentAirgap(args, { cwd: folder.path, ...options, env })
  outputs.push(outcome.stdout, outcome.stderr)
  return outcome
}

const login = (host: string, flags: readonly string[] = [], password = PASSWORD): Promise<Outcome> =>
  run(['login', host, '--username', 'packer', '--password-stdin', ...flags], { stdin: `${password}\n` })

const config = (): string => folder.file('.docker/config.json')
const stored = async (): Promise<unknown> => JSON.parse(await readFile(config(), 'utf8')) as unknown

describe('login', () => {
  it.each([
    ['Basic', () => basic],
    ['a token service', () => bearer],
  ])('to a registry with %s, whose images can then be read', async (_, registry) => {
    const { host } = registry()
    const { code, stdout, stderr } = await login(host)
    expect(stderr).toContain(`unencrypted in ${config()}`)
    expect(stderr).toContain('docker-credential-')
    expect(stdout).toContain(config())
    expect(stdout).toContain('accepted by the registry')
    expect(code).toBe(0)
    expect((await stat(config())).mode & 0o777).toBe(0o600)
    const auth = Buffer.from(`packer:${PASSWORD}`).toString('base64')
    expect(await stored()).toEqual({ auths: { [host]: { auth } } })
    expect((await run(['resolve', `${host}/team/app:1`])).code).toBe(0)
  })

  it('prints one document with --json', async () => {
    const outcome = await login(basic.host, ['--json', '--auth-file', 'auth.json'])
    expect(outcome.json()).toEqual({
      registry: basic.host,
      username: 'packer',
      checked: true,
      storedIn: { file: 'auth.json' },
    })
    expectResult('login', outcome.json())
  })

  it.each([
    ['Basic', () => basic],
    ['a token service', () => bearer],
  ])('[duty: no-secrets] with a wrong password at %s stores nothing', async (_, registry) => {
    const { host } = registry()
    const { code, stderr } = await login(host, [], WRONG)
    expect(stderr).toContain(`cannot log in to ${host}: user name and password are not accepted`)
    expect(stderr).toContain('Nothing was stored')
    expect(code).toBe(5)
    await expect(stat(config())).rejects.toThrow('ENOENT')
  })

  it('keeps the old credentials where the new ones are wrong', async () => {
    await login(basic.host)
    const before = await readFile(config(), 'utf8')
    expect((await login(basic.host, [], WRONG)).code).toBe(5)
    expect(await readFile(config(), 'utf8')).toBe(before)
  })

  it('with --log-format json warns and fails in lines of the log', async () => {
    const log = ['--log-format', 'json']
    const [good, wrong] = await Promise.all([
      login(basic.host, log),
      login(bearer.host, [...log, '--json'], WRONG),
    ])
    expect(logLines(good.stderr)).toMatchObject([{ event: 'way' }, { event: 'warning', level: 'warning' }])
    expect(good.stdout).toContain('accepted by the registry')
    expect(wrong.json()).toMatchObject({ error: { code: 'UNAUTHORIZED' } })
    expect(logLines(wrong.stderr)).toMatchObject([
      { event: 'way' },
      { event: 'error', code: 'UNAUTHORIZED', exitCode: 5 },
    ])
  })

  it('says that a registry which asks for nothing could not check them', async () => {
    const { code, stderr, json } = await login(open.host, ['--json'])
    expect(json()).toMatchObject({ checked: false })
    expect(stderr).toContain('the user name and password could not be checked')
    expect(code).toBe(0)
    // What nobody asks for is not sent.
    expect(JSON.stringify(open.requests)).not.toMatch(/basic /i)
  })

  it('takes a password of several lines, without the line end behind it', async () => {
    const password = '{\n  "key": 1\n}'
    await using registry = await startRegistry({ auth: { basic: { _json_key: password } } })
    const flags = ['--username', '_json_key', '--password-stdin']
    expect((await run(['login', registry.host, ...flags], { stdin: `${password}\r\n` })).code).toBe(0)
  })

  it('stores in a helper, and does not warn', async () => {
    const helper = folder.file('docker-credential-test')
    await writeFile(helper, '#!/bin/sh\n[ $1 = store ] && exec cat > "$HOME/kept"; exec cat "$HOME/kept"\n')
    await chmod(helper, 0o755)
    await mkdir(folder.file('.docker'))
    await writeFile(config(), '{"credsStore":"test"}')
    const env = { PATH: `${folder.path}:${process.env.PATH}` }
    const stdin = `${PASSWORD}\n`
    const args = ['login', basic.host, '-u', 'packer', '--password-stdin']
    const { code, stderr, stdout } = await run(args, { env, stdin })
    expect(stderr).toBe('')
    expect(stdout).toContain('docker-credential-test')
    expect(code).toBe(0)
    expect(await stored()).toEqual({ credsStore: 'test', auths: { [basic.host]: {} } })
    const again = await run([...args, '--json'], { env, stdin })
    expect(again.json()).toMatchObject({ storedIn: { helper: 'test' } })
    expectResult('login', again.json())
    expect((await run(['resolve', `${basic.host}/team/app:1`], { env })).code).toBe(0)
  })

  it('loses none of several at once', async () => {
    const { host } = basic
    const hosts = [host, `${host}/a`, `${host}/b`]
    const codes = (await Promise.all(hosts.map((name) => login(name)))).map(({ code }) => code)
    expect(codes).toEqual([0, 0, 0])
    expect(Object.keys(((await stored()) as { auths: object }).auths).toSorted()).toEqual(hosts)
  })
})

describe('a login that cannot work is refused before anything is sent', () => {
  it.each<[string, string[], string, string]>([
    ['a password as a flag', ['-u', 'packer', '--password', PASSWORD], '', 'process list'],
    ['no terminal', ['-u', 'packer'], '', '--password-stdin < FILE'],
    ['an empty password', ['-u', 'packer', '--password-stdin'], '\n', 'the password is empty'],
    ['far too much', ['-u', 'packer', '--password-stdin'], 'x'.repeat(70_000), 'that is not a password'],
  ])('%s', async (_, flags, stdin, words) => {
    const before = basic.requests.length
    const { code, stderr } = await run(['login', basic.host, ...flags], { stdin })
    expect(stderr).toContain(words)
    expect(code).toBe(2)
    expect(basic.requests.length).toBe(before)
    await expect(stat(config())).rejects.toThrow('ENOENT')
  })

  it.each([
    [{}, 'needs --username'],
    [{ username: '' }, 'is empty'],
    [{ username: 'a:b' }, 'colon'],
    [{ username: 'a\nb' }, 'control character'],
  ])('%j', (flags, words) => {
    const check = (): void => checkLoginInput({ 'password-stdin': true, ...flags })
    expect(check).toThrow(words)
  })

  it('a damaged file, which stays as it is', async () => {
    await mkdir(folder.file('.docker'))
    await writeFile(config(), '{"auths":')
    const before = basic.requests.length
    const { code, stderr } = await login(basic.host)
    expect(stderr).toContain(`${config()}: it is not JSON`)
    expect(code).toBe(5)
    expect(basic.requests.length).toBe(before)
    expect(await readFile(config(), 'utf8')).toBe('{"auths":')
  })
})

describe('what is no registry', () => {
  it.each<[string, RequestListener, number, string]>([
    ['answers 404', (_, response) => response.writeHead(404).end(), 4, 'is not a registry'],
    [
      'has a web page for everything',
      (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
      4,
      'with a web page',
    ],
    ['forbids', (_, response) => response.writeHead(403).end(), 5, 'permission denied'],
  ])('%s', async (_, listener, wanted, words) => {
    const server = createServer(listener)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const { code, stderr } = await login(`127.0.0.1:${(server.address() as AddressInfo).port}`)
      expect(stderr).toContain(words)
      expect(code).toBe(wanted)
      await expect(stat(config())).rejects.toThrow('ENOENT')
    } finally {
      server.close()
    }
  })
})

describe('logout', () => {
  it('removes what login has stored, and says when there is nothing', async () => {
    await login(basic.host)
    const { code, stdout } = await run(['logout', basic.host])
    expect(stdout).toBe(`Removed the credentials for ${basic.host} from ${config()}\n`)
    expect(code).toBe(0)
    expect(await stored()).toEqual({ auths: {} })
    const again = await run(['logout', basic.host, '--auth-file', config()])
    expect(again.stdout).toContain('nothing to remove')
    expect(again.code).toBe(0)
    const { json } = await run(['logout', basic.host, '--json'])
    expect(json()).toEqual({ registry: basic.host, removed: false, storedIn: { file: config() } })
    expectResult('logout', json())
  })

  it('tells where there are still some', async () => {
    await login(basic.host)
    await login(basic.host, ['--auth-file', 'auth.json'])
    const args = ['logout', basic.host, '--auth-file', 'auth.json', '--json']
    const { json, stderr } = await run(args)
    expect(stderr).toContain(`still other credentials for ${basic.host}: those from ${config()}`)
    expect(json()).toEqual({
      registry: basic.host,
      removed: true,
      storedIn: { file: 'auth.json' },
      stillFoundIn: config(),
    })
    expectResult('logout', json())
  })
})

it('errors of other commands lead to login', async () => {
  const { stderr, code } = await run(['resolve', `${basic.host}/team/app:1`])
  expect(stderr).toContain(`airgap login ${basic.host}`)
  expect(code).toBe(5)
})
