import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { createGzip } from 'node:zlib'
import { pack } from 'tar-stream'
import { describe, expect, it, vi } from 'vitest'
import { ARCHITECTURES, type Architecture } from '../../bin/standalone/names.ts'
import { findNode } from '../../bin/standalone/node-binary.ts'
import { ROOT } from '../../bin/standalone/root.ts'
import { scratch } from '../support/airgap.ts'

interface Entry {
  version?: string
  resolved?: string
  integrity?: string
  link?: boolean
  hasInstallScript?: boolean
}

async function readJson<T>(...path: string[]): Promise<T> {
  return JSON.parse(await readFile(join(ROOT, ...path), 'utf8')) as T
}

/** The one that the executable for the other architecture is built around: `npm ci` does not install it here. */
const OTHER: Architecture = process.arch === 'x64' ? 'arm64' : 'x64'

describe('what npm installs here', () => {
  it('is held to a SHA-512 each, and the lock file names no registry', async () => {
    const { packages } = await readJson<{ packages: Record<string, Entry> }>('package-lock.json')
    const foreign = Object.entries(packages).filter(
      ([path, { link }]) => !link && path.includes('node_modules/'),
    )
    expect(foreign.length).toBeGreaterThan(100)
    for (const [path, { integrity }] of foreign) expect(integrity, path).toMatch(/^sha512-[\w+/]{86}==$/)
    // The rest is our own: folders of this checkout, and links to them.
    const own = Object.entries(packages).filter(([path, { link }]) => link || !path.includes('node_modules/'))
    expect(own.map(([path, { resolved }]) => resolved ?? path)).toEqual([
      '',
      'bin/standalone/node',
      'bin/standalone/node',
    ])
    expect(await readFile(join(ROOT, 'package-lock.json'), 'utf8')).not.toMatch(/https?:\/\/registry|\.tgz/)
    expect(await readFile(join(ROOT, '.npmrc'), 'utf8')).toContain('\nomit-lockfile-registry-resolved=true\n')
  })

  it('runs no script of a package', async () => {
    const { packages } = await readJson<{ packages: Record<string, Entry> }>('package-lock.json')
    const { allowScripts } = await readJson<{ allowScripts: Record<string, boolean> }>('package.json')
    const scripted = Object.entries(packages).filter(([, { hasInstallScript }]) => hasInstallScript)
    const names = scripted.map(([path]) => path.replace(/^.*node_modules\//, ''))
    expect(allowScripts).toEqual(Object.fromEntries(names.map((name) => [name, false])))
  })

  it('has Node.js for every architecture that executables are built for, of one version', async () => {
    const { packages } = await readJson<{ packages: Record<string, Entry> }>('package-lock.json')
    const { optionalDependencies } = await readJson<{ optionalDependencies: Record<string, string> }>(
      'bin/standalone/node/package.json',
    )
    const names = Object.keys(ARCHITECTURES).map((arch) => `node-linux-${arch}`)
    expect(Object.keys(optionalDependencies).toSorted()).toEqual(names.toSorted())
    expect(new Set(Object.values(optionalDependencies)).size).toBe(1)
    for (const name of names) {
      expect(packages[`node_modules/${name}`]?.version).toBe(optionalDependencies[name])
    }
  })

  it('is found as node_modules/.bin/node, whatever npm has made of that', async () => {
    await using place = await scratch()
    const name = `node-${process.platform}-${process.arch}`
    const link = (): Promise<{ stderr: string }> =>
      promisify(execFile)(process.execPath, [join(ROOT, 'bin/link-node.js')], { cwd: place.path })
    expect((await link()).stderr).toContain(`node_modules has no ${name}; this checkout runs on the Node.js`)

    await mkdir(place.file(`node_modules/${name}/bin`), { recursive: true })
    await writeFile(place.file(`node_modules/${name}/bin/node`), '')
    expect((await link()).stderr).toBe('')
    expect((await link()).stderr).toBe('')
    expect(await readlink(place.file('node_modules/.bin/node'))).toBe(`../${name}/bin/node`)
  })
})

describe('the Node.js for another architecture', () => {
  it('is taken from whatever registry, when it has the SHA-512 of the lock file', async () => {
    // So far that the program within is looked at.
    await expect(fetched((bytes) => bytes)).rejects.toThrow(
      new RegExp(`node_modules/node-linux-${OTHER}/bin/node is not a program for Linux on ${OTHER}$`),
    )
  })

  it('is refused when the registry has exchanged it', async () => {
    await expect(fetched(() => tarball('exchanged'))).rejects.toThrow('EINTEGRITY')
  })

  it('is refused when the lock file has it in another version than the Node.js that builds', async () => {
    await using place = await scratch()
    await writeFile(place.file('package-lock.json'), JSON.stringify({ packages: {} }))
    await expect(findNode(OTHER, undefined, place.path, place.path)).rejects.toThrow(
      `package-lock.json has node-linux-${OTHER} in no version, and Node.js ${process.versions.node} runs this: build with node_modules/.bin/node`,
    )
  })
})

/** Looks for the other Node.js with a registry that gives `answer(what the lock file has)`. */
async function fetched(answer: (bytes: Buffer) => Buffer | Promise<Buffer>): Promise<unknown> {
  await using place = await scratch()
  const name = `node-linux-${OTHER}`
  const version = process.versions.node
  const locked = await tarball('locked')
  const given = await answer(locked)
  const server = createServer((request, response) => {
    if (request.url?.endsWith('.tgz')) return response.end(given)
    const dist = { tarball: `${url()}/${name}.tgz`, integrity: sha512(given) }
    const versions = { [version]: { name, version, dist } }
    return response.end(JSON.stringify({ name, versions, 'dist-tags': { latest: version } }))
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  vi.stubEnv('npm_config_registry', url())
  vi.stubEnv('npm_config_cache', place.file('cache'))
  try {
    const packages = { [`node_modules/${name}`]: { version, integrity: sha512(locked) } }
    const lock = { name: 'here', lockfileVersion: 3, requires: true, packages }
    await writeFile(place.file('package-lock.json'), JSON.stringify(lock))
    await mkdir(place.file('work'))
    return await findNode(OTHER, undefined, place.file('work'), place.path)
  } finally {
    vi.unstubAllEnvs()
    server.close()
    server.closeAllConnections()
  }
}

/** An npm package whose bin/node is `content`. */
async function tarball(content: string): Promise<Buffer> {
  const archive = pack()
  archive.entry(
    { name: 'package/package.json' },
    JSON.stringify({ name: `node-linux-${OTHER}`, version: process.versions.node }),
  )
  archive.entry({ name: 'package/bin/node' }, content)
  archive.finalize()
  return buffer(archive.pipe(createGzip()))
}

function sha512(bytes: Uint8Array): string {
  return `sha512-${createHash('sha512').update(bytes).digest('base64')}`
}
