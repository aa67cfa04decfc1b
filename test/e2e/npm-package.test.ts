import { readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { AMD64, buildImage, seedRegistry } from '../../fixtures/images/index.ts'
import { startRegistry } from '../support/registry/registry.ts'
import { attempt, run } from './parts/processes.ts'
import { scratch } from './parts/scratch.ts'
import { withParts } from './parts/tools.ts'

const ROOT = join(import.meta.dirname, '../..')
/** More than what is hashed without threads. Bytes. */
const LARGE_SIZE = 48 * 1024 * 1024

/** What a program of the library's user would print. */
const PROGRAM = `
import { AirgapError, verify } from 'airgap'
const { description } = await verify(process.argv[2], { keys: ['airgap.pub'] })
const code = await verify('none.tar', { keys: ['airgap.pub'] }).catch((error) => error instanceof AirgapError && error.code)
console.log(description.images.map(({ source }) => source).join(), code)
`

withParts('the npm package', ['setpriv', 'tar'], () => {
  test('installs without a registry, and runs', async () => {
    await using folder = await scratch()
    const { path } = folder
    const env = { PATH: process.env['PATH'], HOME: path }
    const packed = await run('npm', ['pack', '--json', '--pack-destination', path], { cwd: ROOT, env })
    const tgz = join(path, /"filename": "([^"]+)"/.exec(packed)?.[1] ?? '')
    const names = (await run('tar', ['-tzf', tgz])).trim().split('\n')
    const own = new Set(
      names.filter((name) => !name.includes('/node_modules/')).map((name) => name.split('/')[1]),
    )
    expect(own).toEqual(new Set(['README.md', 'bin', 'dist', 'docs', 'package.json']))
    expect(names.filter((name) => name.startsWith('package/bin/'))).toEqual(['package/bin/run.js'])

    const nowhere = ['--offline', '--registry', 'http://127.0.0.1:9', '--cache', join(path, 'cache')]
    await run('npm', ['install', '--global', '--ignore-scripts', '--prefix', path, ...nowhere, tgz], {
      cwd: path,
      env,
    })
    const withNode = { ...env, PATH: `${dirname(process.execPath)}:${env.PATH}` }
    const installed = join(path, 'bin/airgap')
    const options = { cwd: path, env: withNode }
    expect(await run(installed, ['--version'], options)).toContain(`node-${process.version}`)
    expect(await run(installed, ['list', 'nginx'], options)).toBe('docker.io/library/nginx:latest\n')
    expect(await readdir(join(path, '.cache/airgap'))).toHaveLength(1)

    const module = join(path, 'lib/node_modules/airgap')
    const listed = JSON.parse(await readFile(join(module, 'dist/commands.json'), 'utf8')) as { id: string }[]
    for (const { id } of listed) {
      expect(await run(installed, [id, '--help'], options)).toContain(`airgap ${id}`)
      // Not to be parsed without the command's own code.
      const wrong = await attempt(installed, [id, '--no-such-flag'], options)
      expect(wrong.stderr).toContain('--no-such-flag')
      expect(wrong.code).toBe(2)
    }

    await using registry = await startRegistry()
    const files = { 'filler.bin': new Uint8Array(LARGE_SIZE) }
    const image = `${registry.host}/large:1.0`
    seedRegistry(
      registry.store,
      'large:1.0',
      await buildImage({ platform: AMD64, files, compression: 'none' }),
    )
    const withPassword = { cwd: path, env: { ...withNode, AIRGAP_PASSWORD: 'test' } }
    await run(installed, ['keygen'], withPassword)
    await run(installed, ['pack', image, '-o', 'large.tar', '--key', 'airgap.key'], withPassword)
    expect(await run(installed, ['verify', 'large.tar', '--key', 'airgap.pub'], options)).toContain(image)
    await run(installed, ['push', 'large.tar', `${registry.host}/copy`, '--key', 'airgap.pub'], options)

    await writeFile(join(path, 'lib/program.mjs'), PROGRAM)
    const args = [join(path, 'lib/program.mjs'), join(path, 'large.tar')]
    expect(await run(process.execPath, args, options)).toBe(`${image} FILE\n`)
  })
})
