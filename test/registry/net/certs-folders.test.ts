import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { certsRoots, folderNames, readCertsFolder } from '../../../src/registry/net/certs-folders.ts'
import { makeCertificate } from '../../support/certificates.ts'
import { failureOf, scratch } from '../../support/client.ts'

const ca = makeCertificate({ name: 'authority' })
const other = makeCertificate({ name: 'other authority' })
const own = makeCertificate({ name: 'packer', names: ['packer'], issuer: ca })
const url = new URL('https://registry.example:5000')
const NAME = 'registry.example:5000'

function roots(files: Record<string, string> = {}, name = NAME): { root: string; folder: string } {
  const root = scratch()
  const folder = join(root, name)
  mkdirSync(folder)
  for (const [file, content] of Object.entries(files))
    writeFileSync(join(folder, file), content, { mode: 0o600 })
  return { root, folder }
}

test('the folders of Podman and Docker, the user’s own first', () => {
  expect(certsRoots({ HOME: '/home/op' })).toEqual([
    '/home/op/.config/containers/certs.d',
    '/home/op/.config/docker/certs.d',
    '/etc/containers/certs.d',
    '/etc/docker/certs.d',
  ])
  expect(certsRoots({ HOME: '/home/op', XDG_CONFIG_HOME: '/cfg' })[0]).toBe('/cfg/containers/certs.d')
  expect(certsRoots({ XDG_CONFIG_HOME: 'relative' })).toEqual([
    '/etc/containers/certs.d',
    '/etc/docker/certs.d',
  ])
})

test.each([
  ['https://registry.example', ['registry.example', 'registry.example:443']],
  ['https://registry.example:5000', ['registry.example:5000']],
  ['https://[FD00::1]:5000', ['[fd00::1]:5000']],
  ['https://registry-1.docker.io', ['docker.io', 'registry-1.docker.io', 'registry-1.docker.io:443']],
  ['https://docker.io:5000', ['docker.io:5000']],
  ['https://../', []],
  ['https://./', []],
  ['https://%2e%2e:5000/', []],
])('%s: %j', (text, names) => {
  expect(folderNames(new URL(text))).toEqual(names)
})

test('no host leads out of the folder', () => {
  const part = fc.constantFrom(
    '..',
    '.',
    '/',
    '%2e',
    '%2f',
    '\\',
    '\u3002',
    '\uff0f',
    '@',
    ':',
    'etc',
    '[',
    ']',
  )
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const text = `https://${parts.join('')}/`
      if (!URL.canParse(text)) return
      for (const name of folderNames(new URL(text))) {
        expect(join('/root', name)).toBe(`/root/${name}`)
        expect(name).not.toMatch(/^\.|\//)
      }
    }),
  )
})

test('authorities, and a client certificate with its key', async () => {
  const { root, folder } = roots({
    'ca.crt': `some words\n${ca.cert}${other.cert}`,
    'client.cert': own.cert + ca.cert,
    'client.key': own.key,
    'readme.txt': 'not a certificate',
  })
  const found = await readCertsFolder([join(root, 'absent'), root], url)
  expect(found).toMatchObject({
    folder,
    warnings: [],
    tls: { cert: own.cert + ca.cert, key: own.key, files: { cert: join(folder, 'client.cert') } },
  })
  expect(found?.tls.ca?.map((text) => `${text}\n`)).toEqual([ca.cert, other.cert])
  expect(await readCertsFolder([root], new URL('https://registry.example'))).toBeUndefined()
  expect(await readCertsFolder([root], new URL('https://other.example:5000'))).toBeUndefined()
})

test('the first folder that there is counts, and no other; links are followed', async () => {
  const first = roots({})
  const second = roots({ 'ca.crt': ca.cert })
  expect((await readCertsFolder([first.root, second.root], url))?.tls.ca).toEqual([])
  rmSync(first.folder, { recursive: true })
  symlinkSync(second.folder, first.folder)
  symlinkSync(join(second.folder, 'ca.crt'), join(second.folder, 'linked.crt'))
  expect((await readCertsFolder([first.root, second.root], url))?.tls.ca).toHaveLength(2)
})

test('docker.io has the folder docker.io', async () => {
  const { root } = roots({ 'ca.crt': ca.cert }, 'docker.io')
  expect((await readCertsFolder([root], new URL('https://registry-1.docker.io')))?.tls.ca).toHaveLength(1)
})

test.each([
  ['a key that all can read', { 'client.key': 0o644 }, /every user.*client\.key/],
  ['a key that the group can read', { 'client.key': 0o640 }, undefined],
])('%s', async (_, modes, warning) => {
  const { root, folder } = roots({ 'client.cert': own.cert, 'client.key': own.key })
  for (const [file, mode] of Object.entries(modes)) chmodSync(join(folder, file), mode)
  const warnings = (await readCertsFolder([root], url))?.warnings ?? []
  expect(warnings).toHaveLength(warning ? 1 : 0)
  if (warning) expect(warnings[0]).toMatch(warning)
})

test('of several client certificates the first is used, and it is said', async () => {
  const { root } = roots({ 'b.cert': own.cert, 'b.key': own.key, 'a.cert': own.cert, 'a.key': own.key })
  const found = await readCertsFolder([root], url)
  expect(found?.tls.files?.cert).toMatch(/a\.cert$/)
  expect(found?.warnings).toEqual([expect.stringContaining('several client certificates')])
})

const encrypted = own.privateKey.export({
  type: 'pkcs8',
  format: 'pem',
  cipher: 'aes-256-cbc',
  passphrase: 'x',
})
test.each<[string, Record<string, string>, RegExp]>([
  ['no certificate', { 'ca.crt': 'hello' }, /ca\.crt: it holds no PEM/],
  ['an empty file', { 'ca.crt': '' }, /ca\.crt: it holds no PEM/],
  ['a damaged one', { 'ca.crt': ca.cert.replace(/MII[A-Za-z0-9]/, 'AAAA') }, /certificate 1 is damaged/],
  ['one that is cut off', { 'ca.crt': ca.cert + ca.cert.slice(0, 200) }, /ends within a certificate/],
  ['a certificate without a key', { 'client.cert': own.cert }, /client\.cert: there is no .*client\.key/],
  [
    'a key alone',
    { 'client.crt': own.cert, 'client.key': own.key },
    /client\.key: there is no .*client\.cert$/,
  ],
  ['a foreign key', { 'c.cert': own.cert, 'c.key': ca.key }, /c\.key does not belong to .*c\.cert/],
  ['a chain the wrong way round', { 'c.cert': ca.cert + own.cert, 'c.key': own.key }, /does not belong/],
  ['a locked key', { 'c.cert': own.cert, 'c.key': String(encrypted) }, /c\.key: it is encrypted/],
  ['no key', { 'c.cert': own.cert, 'c.key': 'hello' }, /c\.key: it holds no PEM private key/],
  ['no certificate either', { 'c.cert': 'hello', 'c.key': own.key }, /c\.cert: it holds no PEM certificate/],
  ['a huge file', { 'ca.crt': ca.cert + '#'.repeat(1024 * 1024) }, /ca\.crt: it is larger than 1024 KiB/],
])('%s is an error that names the file', async (_, files, message) => {
  const { root, folder } = roots(files)
  const error = await failureOf(readCertsFolder([root], url), 'FILE')
  expect(error.message).toMatch(message)
  expect(error.message).toContain(folder)
  expect(`${error.message}${error.hint}`).not.toContain(own.key.slice(40, 80))
})

test('what is no file is an error, too, and nothing that anybody waits for', async () => {
  const folders = [roots(), roots(), roots(), roots()]
  const [dangling, loop, fifo, below] = folders.map(({ folder }) => join(folder, 'ca.crt'))
  symlinkSync('/nowhere', dangling ?? '')
  symlinkSync('ca.crt', loop ?? '')
  spawnSync('mkfifo', [fifo ?? ''])
  mkdirSync(below ?? '')
  const messages = [/no such file/, /loop/, /no regular file/, /is a folder/]
  for (const [i, { root }] of folders.entries()) {
    expect((await failureOf(readCertsFolder([root], url), 'FILE')).message).toMatch(messages[i] ?? '')
  }
})

test('a folder full of files is not read to its end', async () => {
  const { root, folder } = roots()
  for (let i = 0; i < 1001; i++) writeFileSync(join(folder, `${i}.crt`), '')
  expect((await failureOf(readCertsFolder([root], url), 'FILE')).message).toContain('more than 1000')
})

test('a file in place of a folder is none', async () => {
  const root = scratch()
  writeFileSync(join(root, NAME), '')
  expect(await readCertsFolder([root], url)).toBeUndefined()
})
