import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { run } from './parts/processes.ts'
import { scratch } from './parts/scratch.ts'
import { withParts } from './parts/tools.ts'

const ROOT = join(import.meta.dirname, '../..')

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
  })
})
