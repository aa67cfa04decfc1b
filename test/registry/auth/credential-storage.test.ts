import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { withFileLock } from '../../../src/files/file-lock.ts'
import { updateAuthFile } from '../../../src/registry/auth/auth-file-update.ts'
import {
  findStorage,
  removeCredentials,
  storeCredentials,
  type StorageOptions,
} from '../../../src/registry/auth/credential-storage.ts'
import { CredentialStore } from '../../../src/registry/auth/credentials.ts'
import { parseLoginTarget } from '../../../src/registry/auth/login-target.ts'
import { basicEntry, failureOf, scratch } from '../../support/client.ts'

const SECRET = 's3cret pass:wörd'

async function login(registry: string, options: StorageOptions, username = 'packer', password = SECRET) {
  const target = parseLoginTarget(registry)
  const storage = await findStorage(target, options)
  return { ...(await storeCredentials(target, { username, password }, storage, options)), ...storage }
}

const logout = (registry: string, options: StorageOptions) =>
  removeCredentials(parseLoginTarget(registry), options)

async function find(registry: string, options: StorageOptions, repository = '') {
  const found = await new CredentialStore(options).find(registry, repository)
  return found?.kind === 'basic' ? `${found.username}:${found.password}` : found?.kind
}

function home(config?: unknown): { env: NodeJS.ProcessEnv; file: string; read: () => any } {
  const folder = scratch()
  const file = join(folder, '.docker', 'config.json')
  if (config !== undefined) {
    mkdirSync(dirname(file))
    writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config))
  }
  return { env: { HOME: folder }, file, read: () => JSON.parse(readFileSync(file, 'utf8')) }
}

const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)

test('[duty: local-state] a new file is for its owner alone, and so is its folder', async () => {
  const { env, file, read } = home()
  expect(await login('r.example', { env })).toEqual({ file, shadowedBy: undefined })
  expect(read()).toEqual({ auths: { 'r.example': basicEntry('packer', SECRET) } })
  expect([mode(file), mode(dirname(file))]).toEqual(['600', '700'])
  expect(readdirSync(dirname(file))).toEqual(['config.json'])
  expect(await find('r.example', { env })).toBe(`packer:${SECRET}`)
})

test('a file that others could read is closed to them', async () => {
  const { env, file } = home({})
  chmodSync(file, 0o644)
  await login('r.example', { env })
  expect(mode(file)).toBe('600')
})

test('the places, in order', async () => {
  const { env, file } = home()
  const at = async (options: StorageOptions) => (await login('r.example', options)).file
  expect(await at({ env })).toBe(file)
  env['DOCKER_CONFIG'] = join(scratch(), 'docker')
  expect(await at({ env })).toBe(join(env['DOCKER_CONFIG'], 'config.json'))
  env['REGISTRY_AUTH_FILE'] = join(scratch(), 'containers', 'auth.json')
  expect(await at({ env })).toBe(env['REGISTRY_AUTH_FILE'])
  const authFile = join(scratch(), 'given.json')
  expect(await at({ env, authFile })).toBe(authFile)
  await failureOf(login('r.example', { env: {} }), 'CREDENTIALS')
})

test('the folder of a file that was named is not made', async () => {
  const authFile = join(scratch(), 'mistyped', 'auth.json')
  const { message } = await failureOf(findStorage(parseLoginTarget('r'), { env: {}, authFile }), 'FILE')
  expect(message).toContain(dirname(authFile))
})

test('Docker Hub has Docker’s key, and every spelling gets the new credentials', async () => {
  const { env, read } = home({
    auths: { 'docker.io': basicEntry('old', 'old'), 'docker.io/team': basicEntry('t', 't') },
  })
  await login('docker.io', { env })
  const wanted = basicEntry('packer', SECRET)
  expect(read().auths).toEqual({
    'docker.io': wanted,
    'docker.io/team': basicEntry('t', 't'),
    'https://index.docker.io/v1/': wanted,
  })
  expect(await find('registry-1.docker.io', { env }, 'library/nginx')).toBe(`packer:${SECRET}`)
  expect(await logout('index.docker.io', { env })).toMatchObject({ removed: true })
  expect(read().auths).toEqual({ 'docker.io/team': basicEntry('t', 't') })
})

test('a part of a registry', async () => {
  const { env, read } = home({ auths: { 'r.example': basicEntry('all', 'all') } })
  await login('r.example/team', { env })
  expect(await find('r.example', { env }, 'team/app')).toBe(`packer:${SECRET}`)
  expect(await find('r.example', { env }, 'other/app')).toBe('all:all')
  await logout('r.example', { env })
  expect(Object.keys(read().auths)).toEqual(['r.example/team'])
  expect(await logout('r.example', { env })).toMatchObject({ removed: false })
})

test('an identity token has its own field', async () => {
  const { env, read } = home()
  await login('r.example', { env }, '<token>', 'refresh')
  expect(read().auths['r.example']).toEqual({ ...basicEntry('<token>', ''), identitytoken: 'refresh' })
  expect(await find('r.example', { env })).toBe('identity')
})

test('logging out where nothing is', async () => {
  const { env, file } = home()
  expect(await logout('r.example', { env })).toEqual({ file, removed: false })
  expect(existsSync(dirname(file))).toBe(false)
})

test('credentials that are found before the stored ones are told', async () => {
  const { env } = home()
  const password = join(scratch(), 'password')
  writeFileSync(password, 'other')
  Object.assign(env, {
    AIRGAP_REGISTRY: 'r.example',
    AIRGAP_REGISTRY_USERNAME: 'u',
    AIRGAP_REGISTRY_PASSWORD_FILE: password,
  })
  expect((await login('r.example', { env })).shadowedBy).toBe('AIRGAP_REGISTRY_USERNAME')
  expect((await login('other.example', { env })).shadowedBy).toBeUndefined()
})

const hostile: [string, string, RegExp][] = [
  ['is not JSON', '{"auths":{"r":s3cret}}', /not JSON/],
  ['is cut off', '{"auths":{"r":{"auth":"s3cret', /not JSON/],
  ['has auths that is a text', '{"auths":"s3cret"}', /at "auths"/],
  ['has auths that is a list', '{"auths":["s3cret"]}', /not a credentials file/],
  ['has an entry that is a text', '{"auths":{"r":"s3cret"}}', /not a credentials file/],
  ['is a list', '[]', /not a credentials file/],
  ['has auths that is an empty list', '{"auths":[]}', /at "auths"/],
  ['has an entry that is a list', '{"auths":{"r":[]}}', /not a credentials file/],
  ['is null', 'null', /not a credentials file/],
  ['has auths twice', '{"auths":{},"auths":{"r":{"auth":"s3cret"}}}', /twice/],
  ['has Auths', '{"Auths":{"r":{"auth":"s3cret"}}}', /differs only in case/],
  ['is nested too deep', `{"a":${'['.repeat(200_000)}`, /not JSON/],
  ['is huge', `{"a":"${'x'.repeat(1024 * 1024)}"}`, /larger than/],
  ['begins with a byte order mark', '\ufeff{}', /not JSON/],
]

test.each(hostile)('a file that %s is named and left alone', async (_, text, words) => {
  const { env, file } = home(text)
  for (const action of [login, logout]) {
    const { message } = await failureOf(action('r', { env }), 'CREDENTIALS')
    expect(message).toContain(file)
    expect(message).toMatch(words)
    expect(message).not.toContain('s3cret')
  }
  expect(readFileSync(file, 'utf8')).toBe(text)
})

test('a file that is not UTF-8 is left alone', async () => {
  const { env, file } = home('')
  const bytes = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])
  writeFileSync(file, bytes)
  expect((await failureOf(login('r', { env }), 'CREDENTIALS')).message).toContain('not UTF-8')
  expect(readFileSync(file)).toEqual(bytes)
})

test('keys like __proto__ are keys like any other', async () => {
  const text = '{"__proto__":{"credsStore":"evil"},"auths":{"__proto__":{"auth":"eDp5"},"constructor":{}}}'
  const { env, file } = home(text)
  await login('r.example', { env })
  await logout('r.example', { env })
  expect(readFileSync(file, 'utf8')).toBe(text)
})

test('a link of one’s own stays one, and what it points to is changed', async () => {
  const { env, file } = home({})
  const kept = join(scratch(), 'dotfiles.json')
  writeFileSync(kept, '{"auths":{}}')
  const link = join(scratch(), 'config.json')
  symlinkSync(kept, link)
  await login('r.example', { env, authFile: link })
  expect(lstatSync(link).isSymbolicLink()).toBe(true)
  expect(lstatSync(kept).isSymbolicLink()).toBe(false)
  expect(JSON.parse(readFileSync(kept, 'utf8'))).toHaveProperty(['auths', 'r.example'])
  expect(readFileSync(file, 'utf8')).toBe('{}')
})

test('links that lead nowhere, or round in circles', async () => {
  const folder = scratch()
  const [dangling, circle] = [join(folder, 'dangling'), join(folder, 'circle')]
  symlinkSync(join(folder, 'nothing'), dangling)
  symlinkSync(circle, circle)
  const error = await failureOf(login('r', { env: {}, authFile: dangling }), 'OUTPUT_UNSAFE')
  expect(error.message).toContain('which does not exist')
  await failureOf(login('r', { env: {}, authFile: circle }), 'OUTPUT_UNSAFE')
  expect(existsSync(join(folder, 'nothing'))).toBe(false)
})

test.skipIf(process.getuid?.() !== 0)('what belongs to somebody else is not changed', async () => {
  const { env, file } = home('{}')
  chownSync(file, 65534, 65534)
  const { message, hint } = await failureOf(login('r', { env }), 'OUTPUT_UNSAFE')
  expect(`${message} ${hint}`).toMatch(/belongs to user 65534, but this runs as user 0.*sudo/)
  expect(readFileSync(file, 'utf8')).toBe('{}')
})

test.each([scratch, () => '/dev/null'])(
  'what is no ordinary file is not written to, nor waited for',
  async (path) => {
    await failureOf(login('r', { env: {}, authFile: path() }), 'OUTPUT_UNSAFE')
  },
)

test('many at once: none is lost', async () => {
  const { env, read } = home({ auths: { 'kept.example': {} } })
  const registries = [...Array(10).keys()].map((n) => `r${n}.example`)
  await Promise.all(registries.map((registry) => login(registry, { env })))
  expect(Object.keys(read().auths).toSorted()).toEqual(['kept.example', ...registries].toSorted())
  await Promise.all(registries.map((registry) => logout(registry, { env })))
  expect(read()).toEqual({ auths: { 'kept.example': {} } })
})

test('a change by a program without our lock is not lost', async () => {
  const { file, read } = home({ auths: {} })
  let calls = 0
  const edit = (text: string): string => {
    calls += 1
    if (calls === 1) writeFileSync(file, '{"auths":{"theirs":{}}}')
    return text.replace('{"auths":{', '{"ours":1,"auths":{')
  }
  await updateAuthFile(file, edit, { createFolder: false })
  expect(read()).toEqual({ ours: 1, auths: { theirs: {} } })
  expect(calls).toBe(2)
  const always = (text: string): string => {
    writeFileSync(file, `{"auths":{},"n":${Math.random()}}`)
    return `${text} `
  }
  await failureOf(updateAuthFile(file, always, { createFolder: false }), 'FILE')
  expect(readdirSync(dirname(file))).toEqual(['config.json'])
})

test('a lock that was left behind is named', async () => {
  const { file } = home({})
  writeFileSync(`${file}.airgap-lock`, '')
  const { hint } = await failureOf(
    withFileLock(file, undefined, async () => 1, 100),
    'FILE',
  )
  expect(hint).toContain(`rm ${file}.airgap-lock`)
  const abort = AbortSignal.abort()
  await failureOf(
    withFileLock(file, abort, async () => 1),
    'INTERRUPTED',
  )
})

/** A helper that keeps what it is given in files beside it; `first` is run before. */
function helper(name: string, first = ''): { folder: string; PATH: string; calls: () => string[] } {
  const folder = scratch()
  const path = join(folder, `docker-credential-${name}`)
  writeFileSync(
    path,
    `#!/bin/sh
input=$(cat)
echo "$# $1 $input" >> ${folder}/calls
env > ${folder}/env
${first}
case $1 in
store) printf %s "$input" > ${folder}/kept ;;
get) [ -f ${folder}/kept ] || { echo "credentials not found in native keychain"; exit 1; }; cat ${folder}/kept ;;
erase) rm ${folder}/kept ;;
esac
`,
  )
  chmodSync(path, 0o755)
  return {
    folder,
    PATH: [folder, '/usr/bin', '/bin'].join(delimiter),
    calls: () => readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n'),
  }
}

test('a helper has the secret, and the file an empty entry', async () => {
  const store = helper('store')
  const { env, file, read } = home({
    auths: { 'r.example': basicEntry('old', 'plain'), 'other.example': basicEntry('o', 'o') },
    credsStore: 'store',
  })
  Object.assign(env, { PATH: store.PATH, AIRGAP_PASSWORD: 'ours', COSIGN_PASSWORD: 'ours' })
  const stored = await login('r.example', { env })
  expect(stored).toEqual({ file, helper: 'store', shadowedBy: undefined })
  expect(read()).toEqual({
    auths: { 'r.example': {}, 'other.example': basicEntry('o', 'o') },
    credsStore: 'store',
  })
  // On standard input, not among the arguments.
  const given = JSON.stringify({ ServerURL: 'r.example', Username: 'packer', Secret: SECRET })
  expect(store.calls()).toEqual([`1 store ${given}`, '1 get r.example'])
  expect(readFileSync(join(store.folder, 'env'), 'utf8')).not.toContain('ours')
  expect(await find('r.example', { env })).toBe(`packer:${SECRET}`)
  expect(await logout('r.example', { env })).toEqual({ file, helper: 'store', removed: true })
  expect(existsSync(join(store.folder, 'kept'))).toBe(false)
  expect(read().auths).toEqual({ 'other.example': basicEntry('o', 'o') })
  expect(await logout('r.example', { env })).toMatchObject({ removed: false })
})

test('credHelpers goes before credsStore, and an empty name means the file', async () => {
  const [hub, all] = [helper('hub'), helper('all')]
  const { env, read } = home({ credHelpers: { 'docker.io': 'hub', 'plain.example': '' }, credsStore: 'all' })
  env['PATH'] = [hub.folder, all.PATH].join(delimiter)
  await login('docker.io', { env })
  expect(hub.calls()[0]).toContain('"ServerURL":"https://index.docker.io/v1/"')
  await login('plain.example', { env })
  expect(read().auths['plain.example']).toEqual(basicEntry('packer', SECRET))
  expect(existsSync(join(all.folder, 'calls'))).toBe(false)
})

test('a helper has no place for a part of a registry', async () => {
  const { env } = home({ credsStore: 'store' })
  env['PATH'] = helper('store').PATH
  const { message } = await failureOf(login('r.example/team', { env }), 'CREDENTIALS')
  expect(message).toContain('r.example/team')
})

test.each([
  ['../evil', 'not a credential helper'],
  ['gone', 'no docker-credential-gone in the PATH'],
])('[duty: credential-helpers] the helper %s is found out before anything is asked', async (name, words) => {
  const { env } = home({ credsStore: name })
  env['PATH'] = '/nonexistent'
  const { message } = await failureOf(findStorage(parseLoginTarget('r'), { env }), 'CREDENTIALS')
  expect(message).toContain(words)
})

test.each<[string, string, RegExp]>([
  [
    'fails',
    'echo "vault is locked"; exit 1',
    /store the credentials for r: docker-credential-bad failed: vault is locked$/,
  ],
  ['fails and prints what it was given', 'echo "$input"; exit 1', /docker-credential-bad failed$/],
  ['fails and prints the secret', `echo "bad: ${SECRET}"; exit 1`, /docker-credential-bad failed$/],
  ['says that there are none', 'echo "credentials not found"; exit 1', /docker-credential-bad failed$/],
  ['never ends', 'exec sleep 60', /did not answer within 0\.5 s/],
  ['prints for ever', 'while :; do echo s3crets3cret; done', /more than 65536 bytes/],
  [
    'forgets',
    '[ $1 = get ] && { echo "credentials not found"; exit 1; }',
    /does not have the credentials for r that were just/,
  ],
  ['answers with garbage', '[ $1 = get ] && { echo s3cret; exit 0; }', /did not answer with JSON/],
])('a helper that %s', async (_, script, words) => {
  const { env, read } = home({ credsStore: 'bad', kept: 1 })
  env['PATH'] = helper('bad', script).PATH
  const options = { env, helperTimeoutMs: /sleep/.test(script) ? 500 : 30_000 }
  const error = await failureOf(login('r', options), 'CREDENTIALS')
  expect(error.message).toMatch(words)
  expect(`${error.message} ${error.hint} ${JSON.stringify(error)}`).not.toMatch(/s3cret|pass:w/)
  expect(JSON.stringify(read())).not.toContain(basicEntry('packer', SECRET).auth)
})

test('a helper that cannot erase fails a logout, and the entry stays', async () => {
  const bad = helper('bad', '[ $1 = erase ] && { echo "vault is locked"; exit 1; }')
  const { env, read } = home({ credsStore: 'bad' })
  env['PATH'] = bad.PATH
  await login('r', { env })
  const { message } = await failureOf(logout('r', { env }), 'CREDENTIALS')
  expect(message).toBe('cannot remove the credentials for r: docker-credential-bad failed: vault is locked')
  expect(read().auths).toEqual({ r: {} })
})
