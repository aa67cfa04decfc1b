import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CONFIG_KEYS } from '../../src/inputs/config/schema.ts'
import { airgap, scratch, session, type Session } from '../support/airgap.ts'
import { expectResult } from '../support/schemas.ts'

let folder: Awaited<ReturnType<typeof scratch>>
let run: Session['run']
let good: Session['good']

beforeEach(async () => {
  folder = await scratch()
  ;({ run, good } = session(folder.path))
})
afterEach(() => folder[Symbol.asyncDispose]())

describe('airgap init', () => {
  it('writes what is given, for the same command line without it', async () => {
    await writeFile(folder.file('images.txt'), 'redis:7\n')
    const what = ['nginx:1.29', '--kubeadm', 'v1.36.3', '--images-from', 'images.txt', '--exclude', '*/etcd*']
    const { stdout, stderr } = await good([
      'init',
      ...what,
      '--platform',
      'linux/amd64',
      '--mirror',
      'docker.io=mirror.example/hub',
      '--no-rewrite-digests',
      '--name',
      'apps',
      '--bundle-version',
      '7',
    ])
    expect(stdout).toBe('Wrote airgap.yaml\n')
    expect(stderr).toBe('Next: airgap list --config airgap.yaml\n')
    const text = await readFile(folder.file('airgap.yaml'), 'utf8')
    for (const line of [
      'name: apps',
      'bundleVersion: "7"',
      '  - linux/amd64',
      '  - docker.io=mirror.example/hub',
      'rewriteDigests: false',
      '#resolveFrom: mirror',
    ])
      expect(text.split('\n')).toContain(line)
    const listed = await good(['list', '--config', 'airgap.yaml'])
    expect(listed.stdout).toBe((await good(['list', ...what])).stdout)
  })

  it('gives the config with --json', async () => {
    const { json, stdout } = await good([
      'init',
      '--json',
      'nginx',
      '--resolve-from',
      'mirror',
      '--schema',
      's.json',
    ])
    expect(json()).toEqual({
      file: 'airgap.yaml',
      schemaFile: 's.json',
      config: { configVersion: 1, images: ['nginx'], resolveFrom: 'mirror' },
    })
    expectResult('init', json())
    expect(stdout).not.toContain('Wrote')
  })

  it('gives every key that a config can have', async () => {
    const text: string[] = ['-o', 'all.yaml', '--name', 'apps', '--bundle-version', '7', 'nginx:1.29']
    await writeFile(folder.file('images.txt'), 'redis:7\n')
    const lists = ['--images-from', 'images.txt', '--kubeadm', 'v1.36.3', '--exclude', '*/etcd*']
    const platforms = ['--platform', 'linux/amd64', '--rewrite-digests', '--no-allow-missing-platform']
    platforms.push('--allow-missing-attestations')
    const from = ['--kubeadm-repository', 'r.example/k8s', '--mirror', 'docker.io=m.example/hub']
    const all = [...text, ...lists, ...platforms, ...from, '--resolve-from', 'source', '--referrers', 'none']
    const { json } = await good(['init', '--json', ...all])
    expectResult('init', json())
    const { config } = json<{ config: object }>()
    expect(Object.keys(config).toSorted()).toEqual(CONFIG_KEYS.toSorted())
  })

  it('with nothing given says what to fill in, then and when it is read', async () => {
    const { stderr } = await good(['init'])
    expect(stderr).toBe(
      'Next: fill in images, imagesFrom or kubeadm, then airgap list --config airgap.yaml\n',
    )
    const list = await run(['list', '--config', 'airgap.yaml'])
    expect(list.code).toBe(2)
    expect(list.stderr).toBe(
      'Error: airgap.yaml names no image\nFill in images, imagesFrom or kubeadm there, or name images.\n',
    )
  })

  it('replaces nothing without --force, and writes through no link', async () => {
    await writeFile(folder.file('airgap.yaml'), 'precious')
    const refused = await run(['init', 'nginx', '--schema', 's.json'])
    expect(refused.code).toBe(7)
    expect(refused.stderr).toContain('--force')
    expect(await readFile(folder.file('airgap.yaml'), 'utf8')).toBe('precious')
    await expect(readFile(folder.file('s.json'))).rejects.toThrow('ENOENT')
    await good(['init', 'nginx', '--force'])
    expect(await readFile(folder.file('airgap.yaml'), 'utf8')).toContain('  - nginx\n')
    await symlink(folder.file('elsewhere'), folder.file('link.yaml'))
    expect((await run(['init', '-o', 'link.yaml'])).code).toBe(7)
  })

  it('leaves nothing behind when the schema cannot be written', async () => {
    await writeFile(folder.file('s.json'), '')
    const { code } = await run(['init', 'nginx', '--schema', 's.json'])
    expect(code).toBe(7)
    await expect(readFile(folder.file('airgap.yaml'))).rejects.toThrow('ENOENT')
    await expect(readFile(folder.file('airgap.yaml.partial'))).rejects.toThrow('ENOENT')
  })

  it('makes paths relative to the folder of the config', async () => {
    await mkdir(folder.file('deploy'))
    await writeFile(folder.file('images.txt'), 'redis:7\n')
    await good([
      'init',
      '--images-from',
      'images.txt',
      '-o',
      'deploy/airgap.yaml',
      '--schema',
      'airgap.schema.json',
    ])
    const text = await readFile(folder.file('deploy/airgap.yaml'), 'utf8')
    expect(text).toContain('\n  - ../images.txt\n')
    expect(text).toMatch(/^# yaml-language-server: \$schema=\.\.\/airgap\.schema\.json\n/)
    const schema = await readFile(folder.file('airgap.schema.json'), 'utf8')
    expect(schema).toBe((await good(['init', '--print-schema'])).stdout)
    expect((await good(['list', '--config', 'deploy/airgap.yaml'])).stdout).toBe(
      'docker.io/library/redis:7\n',
    )
  })

  it('prints with -o -, and takes a list from standard input as images', async () => {
    const { stdout, code } = await airgap(['init', '--images-from', '-', '-o', '-'], {
      cwd: folder.path,
      stdin: '# ours\nnginx:1.29\n\nghcr.io/a/b:1\n',
    })
    expect(code).toBe(0)
    expect(stdout).toContain('\nimages:\n  - docker.io/library/nginx:1.29\n  - ghcr.io/a/b:1\n')
    expect(stdout).toContain('#imagesFrom:')
  })

  it('prints the published schema', async () => {
    const published = new URL('../../docs/schemas/airgap-config.schema.json', import.meta.url)
    const { stdout } = await good(['init', '--print-schema'])
    expect(stdout).toBe(await readFile(published, 'utf8'))
    expect((await good(['init', '--print-schema', '--json'])).json()).toEqual(JSON.parse(stdout))
    await expect(readFile(folder.file('airgap.yaml'))).rejects.toThrow('ENOENT')
  })

  it.each([
    [['Nginx'], 'image arguments: "Nginx" is not an image reference'],
    [['--platform', 'x'], '--platform: "x" is not a platform'],
    [['--mirror', 'x'], '--mirror: "x" is not a mirror'],
    [['--exclude', ''], '--exclude'],
    [['--kubeadm', 'v1.99.0'], '--kubeadm: the images of Kubernetes v1.99.0 are unknown'],
    [['--name', ''], '--name: name is empty'],
    [['Nginx', '--platform', 'x'], '2 values cannot be used'],
    [['-o', 'a', '--schema', './a'], 'name the same file'],
    [['--schema', 'a\nname: b'], 'contains white space'],
    [['-o', '-', '--json'], 'both write to standard output'],
    [['--print-schema', '--schema', 'x'], 'cannot also be provided'],
    [['--key', 'x'], '--key'],
  ])('%j is refused', async (args, words) => {
    const { code, stdout, stderr } = await run(['init', ...args])
    expect(`${stdout}${stderr}`).toContain(words)
    expect(code).toBe(2)
    await expect(readFile(folder.file('airgap.yaml'))).rejects.toThrow('ENOENT')
  })
})
