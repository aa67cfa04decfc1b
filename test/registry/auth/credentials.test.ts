import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { askCredentialHelper } from '../../../src/registry/auth/credential-helper.ts'
import { CredentialStore } from '../../../src/registry/auth/credentials.ts'
import { anyText } from '../../support/any-text.ts'
import { authFileWith, basicEntry, failureOf, scratch } from '../../support/client.ts'

function put(path: string, content: unknown): string {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

/** `user` of the credentials found, with `:password`. */
async function find(
  options: ConstructorParameters<typeof CredentialStore>[0],
  registry: string,
  repository = 'app',
) {
  const found = await new CredentialStore(options).find(registry, repository)
  return found?.kind === 'basic' ? `${found.username}:${found.password}` : found?.kind
}

const auths = (user: string, host = 'r.example'): unknown => ({ auths: { [host]: basicEntry(user, 'pw') } })

/** A helper in a folder of its own: a shell script. */
function helper(name: string, script: string): { folder: string; env: NodeJS.ProcessEnv } {
  const folder = scratch()
  const path = put(join(folder, `docker-credential-${name}`), `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
  return { folder, env: { PATH: `${folder}:/usr/bin:/bin` } }
}

test('sources in order, the first that has some', async () => {
  const home = scratch()
  const env: NodeJS.ProcessEnv = {
    HOME: home,
    XDG_RUNTIME_DIR: join(home, 'run'),
    DOCKER_CONFIG: join(home, 'docker-config'),
    REGISTRY_AUTH_FILE: put(join(home, 'registry-auth.json'), auths('registry-auth-file')),
    AIRGAP_REGISTRY: 'r.example:443',
    AIRGAP_REGISTRY_USERNAME: 'robot$x',
    AIRGAP_REGISTRY_PASSWORD_FILE: put(join(home, 'password'), 'from file\n'),
  }
  put(join(home, '.docker', 'config.json'), auths('home-docker'))
  put(join(home, 'docker-config', 'config.json'), auths('docker-config'))
  put(join(home, 'run', 'containers', 'auth.json'), auths('runtime'))
  put(join(home, '.config', 'containers', 'auth.json'), auths('config-containers'))
  const authFile = authFileWith(auths('flag'))
  expect(await find({ env, authFile }, 'r.example')).toBe('flag:pw')
  expect(await find({ env }, 'r.example')).toBe('robot$x:from file')
  delete env['AIRGAP_REGISTRY']
  delete env['AIRGAP_REGISTRY_USERNAME']
  delete env['AIRGAP_REGISTRY_PASSWORD_FILE']
  expect(await find({ env }, 'r.example')).toBe('registry-auth-file:pw')
  delete env['REGISTRY_AUTH_FILE']
  expect(await find({ env }, 'r.example')).toBe('docker-config:pw')
  delete env['DOCKER_CONFIG']
  expect(await find({ env }, 'r.example')).toBe('home-docker:pw')
  writeFileSync(join(home, '.docker', 'config.json'), '')
  expect(await find({ env }, 'r.example')).toBe('runtime:pw')
  delete env['XDG_RUNTIME_DIR']
  expect(await find({ env }, 'r.example')).toBe('config-containers:pw')
  expect(await find({ env: {} }, 'r.example')).toBeUndefined()
})

test('the environment’s credentials are for its one host', async () => {
  const env = {
    AIRGAP_REGISTRY: 'r.example:5000',
    AIRGAP_REGISTRY_USERNAME: 'u',
    AIRGAP_REGISTRY_PASSWORD_FILE: put(join(scratch(), 'pw'), 'p'),
  }
  expect(await find({ env }, 'r.example:5000')).toBe('u:p')
  expect(await find({ env }, 'r.example')).toBeUndefined()
  expect(await find({ env }, 'other.example:5000')).toBeUndefined()
})

test('the environment’s credentials must be complete and readable', async () => {
  const incomplete = await failureOf(
    find({ env: { AIRGAP_REGISTRY_USERNAME: 'u' } }, 'r.example'),
    'CREDENTIALS',
  )
  expect(incomplete.message).toContain('AIRGAP_REGISTRY_PASSWORD_FILE')
  const env = {
    AIRGAP_REGISTRY: 'r.example',
    AIRGAP_REGISTRY_USERNAME: 'u',
    AIRGAP_REGISTRY_PASSWORD_FILE: '/nowhere/pw',
  }
  expect((await failureOf(find({ env }, 'r.example'), 'FILE')).message).toContain('/nowhere/pw')
  env.AIRGAP_REGISTRY_PASSWORD_FILE = put(join(scratch(), 'pw'), '\n')
  expect((await failureOf(find({ env }, 'r.example'), 'CREDENTIALS')).message).toContain('empty')
})

test.each([
  ['docker.io', 'https://index.docker.io/v1/'],
  ['docker.io', 'docker.io'],
  ['index.docker.io', 'registry-1.docker.io'],
  ['r.example', 'https://r.example'],
  ['r.example', 'https://r.example/v2/'],
  ['r.example', 'http://R.example/anything'],
  ['r.example', 'r.example:443'],
  ['r.example:443', 'r.example'],
  ['r.example:5000', 'r.example:5000/v2/'],
  ['r.example', 'r.example/team'],
  ['r.example', 'r.example/team/app'],
])('%s has the entry %s', async (registry, key) => {
  expect(await find({ env: {}, authFile: authFileWith(auths('u', key)) }, registry, 'team/app')).toBe('u:pw')
})

test.each([
  ['r.example', 'r.example:5000'],
  ['r.example:5000', 'r.example'],
  ['r.example', 'sub.r.example'],
  ['r.example', 'r.example.evil'],
  ['r.example', 'r.example/tea'],
  ['r.example', 'r.example/team/app/more'],
  ['docker.io', 'docker.io.evil'],
])('%s does not have the entry %s', async (registry, key) => {
  expect(
    await find({ env: {}, authFile: authFileWith(auths('u', key)) }, registry, 'team/app'),
  ).toBeUndefined()
})

test('the longest path wins', async () => {
  const authFile = authFileWith({
    auths: {
      'r.example/team': basicEntry('team', 'pw'),
      'r.example/team/app': basicEntry('app', 'pw'),
      'r.example': basicEntry('host', 'pw'),
    },
  })
  expect(await find({ env: {}, authFile }, 'r.example', 'team/app')).toBe('app:pw')
  expect(await find({ env: {}, authFile }, 'r.example', 'team/other')).toBe('team:pw')
  expect(await find({ env: {}, authFile }, 'r.example', 'elsewhere')).toBe('host:pw')
})

test('any user and password come out as they went in', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ minLength: 1 }), anyText(), async (name, password) => {
      const user = name.replaceAll(':', '_')
      fc.pre(user !== '<token>' && !password.endsWith('\0'))
      const authFile = authFileWith({ auths: { 'r.example': basicEntry(user, password) } })
      expect(await find({ env: {}, authFile }, 'r.example')).toBe(`${user}:${password}`)
    }),
    { numRuns: 50 },
  )
})

test('username and password in the clear, and identity tokens', async () => {
  const one = (entry: unknown) =>
    find({ env: {}, authFile: authFileWith({ auths: { 'r.example': entry } }) }, 'r.example')
  expect(await one({ username: 'u', password: 'p' })).toBe('u:p')
  expect(await one({ identitytoken: 't' })).toBe('identity')
  expect(await one(basicEntry('<token>', 't'))).toBe('identity')
  expect(await one({})).toBeUndefined()
})

test('damaged files are named, and nothing of them is quoted', async () => {
  for (const content of [
    '{"auths":{"r.example":{"auth":s3cret}}}',
    '{"auths":{"r.example":{"auth":{"x":"s3cret"}}}}',
    '{"auths":"s3cret"}',
    '{"auths":{"r.example":{"auth":"s3cretWithoutColon"}}}',
    `{"s3cret":"${'x'.repeat(1024 * 1024)}"}`,
  ]) {
    const authFile = authFileWith(content)
    const error = await failureOf(find({ env: {}, authFile }, 'r.example'), 'CREDENTIALS')
    expect(error.message).toContain(authFile)
    expect(`${error.message} ${String(error.cause)}`).not.toContain('s3cret')
  }
})

test('a file that was named must exist', async () => {
  await failureOf(find({ env: {}, authFile: '/nowhere/auth.json' }, 'r.example'), 'FILE')
  await failureOf(find({ env: { REGISTRY_AUTH_FILE: '/nowhere/auth.json' } }, 'r.example'), 'FILE')
})

test('credHelpers before credsStore before auths; one run serves all repositories', async () => {
  const one = helper(
    'one',
    'read server; echo run >> "$0.log"; echo "{\\"Username\\":\\"one\\",\\"Secret\\":\\"$server\\"}"',
  )
  const two = helper('two', 'read server; echo "{\\"Username\\":\\"two\\",\\"Secret\\":\\"$server\\"}"')
  const none = helper('none', 'echo "credentials not found in native keychain"; exit 1')
  const env = { PATH: [one.folder, two.folder, none.folder, '/usr/bin', '/bin'].join(':') }
  const authFile = authFileWith({
    auths: { 'r.example': basicEntry('file', 'pw'), 'plain.example': {} },
    credHelpers: { 'one.example': 'one', 'r.example': 'none' },
    credsStore: 'two',
  })
  const store = new CredentialStore({ env, authFile })
  expect(await store.find('one.example', 'a')).toMatchObject({ username: 'one', password: 'one.example' })
  expect(await store.find('one.example', 'b')).toMatchObject({ username: 'one' })
  expect(readFileSync(join(one.folder, 'docker-credential-one.log'), 'utf8')).toBe('run\n')
  expect(await store.find('docker.io', 'a')).toMatchObject({
    username: 'two',
    password: 'https://index.docker.io/v1/',
  })
  expect(await store.find('plain.example', 'a')).toMatchObject({ username: 'two' })
  expect(await store.find('r.example', 'a')).toMatchObject({ username: 'file' })
})

test('a helper that fails has no credentials, is run once, and does not hide those of other places', async () => {
  const { folder, env } = helper('locked', 'echo run >> "$0.log"; echo "the vault is locked"; exit 1')
  const authFile = authFileWith({ credsStore: 'locked', auths: { 'r.example': basicEntry('file', 'pw') } })
  const store = new CredentialStore({ env, authFile })
  expect(await store.find('r.example', 'a')).toMatchObject({ username: 'file' })
  expect(await store.find('none.example', 'a')).toBeUndefined()
  expect(await store.find('none.example', 'b')).toBeUndefined()
  expect(readFileSync(join(folder, 'docker-credential-locked.log'), 'utf8')).toBe('run\nrun\n')
  expect(store.troubles('none.example').map(({ message }) => message)).toEqual([
    expect.stringMatching(
      /^cannot get credentials for none\.example: docker-credential-locked failed: the vault is locked$/,
    ),
  ])
  expect(store.troubles('other.example')).toEqual([])
})

test('a call-off of a helper is one, and no answer', async () => {
  const { env } = helper('slow', 'exec sleep 60')
  const authFile = authFileWith({ credsStore: 'slow' })
  const ended = new AbortController()
  const found = new CredentialStore({ env, authFile, signal: ended.signal }).find('r.example', 'a')
  ended.abort(new Error('enough'))
  await expect(found).rejects.toThrow()
})

test('what is null in a credentials file is not there, and the rest of it counts', async () => {
  const { env } = helper('one', 'echo "{\\"Username\\":\\"one\\",\\"Secret\\":\\"pw\\"}"')
  const at = (file: unknown, registry: string, repository?: string) =>
    find({ env, authFile: authFileWith(file) }, registry, repository)
  const auths = {
    'null.example': null,
    'r.example': { ...basicEntry('u', 'pw'), identitytoken: null, registrytoken: null, username: null },
    'r.example/team': null,
  }
  const file = { auths, credHelpers: { 'r.example': null, 'helped.example': 'one' }, credsStore: null }
  expect(await at(file, 'r.example')).toBe('u:pw')
  expect(await at(file, 'r.example', 'team/app')).toBe('u:pw')
  expect(await at(file, 'null.example')).toBeUndefined()
  expect(await at(file, 'helped.example')).toBe('one:pw')
  expect(await at({ auths: null, credHelpers: null }, 'r.example')).toBeUndefined()
})

test('[duty: credential-helpers] a helper does not get our own secrets', async () => {
  const { env } = helper('env', 'echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"$(env | tr "\\n" " ")\\"}"')
  const answer = await askCredentialHelper('env', 'r.example', {
    ...env,
    AIRGAP_PASSWORD: 'x',
    COSIGN_PASSWORD: 'y',
    airgap_small: 'z',
    KEPT: 'k',
  })
  expect(answer?.secret).toContain('KEPT=k')
  expect(answer?.secret).not.toMatch(/AIRGAP|COSIGN|airgap_/)
})

test.each(['../evil', 'a/b', '', 'a b', 'x;id', '$(id)', 'a\0b', 'é'])(
  'a helper named %j is not run',
  async (name) => {
    const folder = scratch()
    const { env } = helper('evil', `echo ran > ${folder}/ran`)
    const error = await failureOf(askCredentialHelper(name, 'r.example', env), 'CREDENTIALS')
    expect(error.message).toContain('not a credential helper')
    expect(existsSync(join(folder, 'ran'))).toBe(false)
  },
)

test('[duty: credential-helpers] a helper is looked for in absolute folders only', async () => {
  const { folder } = helper('here', 'echo "{}"')
  const relative = join('..', '..', '..', '..', '..', '..', '..', '..', folder)
  for (const PATH of ['', '.', relative, undefined]) {
    const error = await failureOf(askCredentialHelper('here', 'r.example', { PATH }), 'CREDENTIALS')
    expect(error.message).toContain('no docker-credential-here in the PATH')
  }
})

test.each<[string, string, RegExp]>([
  ['fails', 'echo "vault is locked: s0"; exit 1', /docker-credential-x failed: vault is locked: s0$/],
  ['fails after its answer', 'echo "{\\"Secret\\":\\"s3cret\\"}"; exit 1', /docker-credential-x failed$/],
  ['does not answer with JSON', 'echo s3cret', /did not answer with JSON/],
  ['leaves something out', 'echo "{\\"Secret\\":\\"s3cret\\"}"', /without Username and Secret/],
  ['answers for ever', 'while :; do echo s3crets3crets3crets3cret; done', /more than 65536 bytes/],
  ['never answers', 'exec sleep 60', /did not answer within 0\.3 s/],
])('a helper that %s', async (_, script, message) => {
  const { env } = helper('x', script)
  const error = await failureOf(
    askCredentialHelper('x', 'r.example', env, /sleep/.test(script) ? 300 : 30_000),
    'CREDENTIALS',
  )
  expect(error.message).toMatch(message)
  expect(error.message).not.toContain('s3cret')
})
