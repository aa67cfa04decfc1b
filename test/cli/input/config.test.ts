import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from 'vitest'
import { scratch, session, type Session } from '../../support/airgap.ts'
import { startInternet, type Internet } from '../../support/internet.ts'

let folder: Awaited<ReturnType<typeof scratch>>
let run: Session['run']
let good: Session['good']

beforeEach(async () => {
  folder = await scratch()
  ;({ run, good } = session(folder.path))
})
afterEach(() => folder[Symbol.asyncDispose]())

const config = (...lines: string[]): Promise<void> =>
  writeFile(folder.file('airgap.yaml'), ['configVersion: 1', ...lines, ''].join('\n'))

const LIST = ['list', '--config', 'airgap.yaml']

describe('list --config', () => {
  it('takes the inputs of the file', async () => {
    await writeFile(folder.file('images.txt'), 'redis:7\n')
    await config(
      'images: [nginx:1.29]',
      'imagesFrom: [images.txt]',
      'kubeadm: [v1.36.3]',
      'exclude: ["*kube-*"]',
    )
    const { json } = await good([...LIST, '--json'])
    expect(json()).toEqual({
      images: [
        { source: 'docker.io/library/nginx:1.29', from: 'config' },
        { source: 'docker.io/library/redis:7', from: 'list' },
        { source: 'registry.k8s.io/coredns/coredns:v1.14.2', from: 'kubeadm' },
        { source: 'registry.k8s.io/etcd:3.6.8-0', from: 'kubeadm' },
        { source: 'registry.k8s.io/pause:3.10.2', from: 'kubeadm' },
      ],
    })
  })

  it('finds lists from the folder of the file, wherever it is called', async () => {
    await mkdir(folder.file('deploy'))
    await writeFile(folder.file('deploy/a.txt'), 'nginx:1\n')
    await writeFile(folder.file('b.txt'), 'nginx:2\n')
    await writeFile(
      folder.file('deploy/airgap.yaml'),
      `configVersion: 1\nimagesFrom:\n  - a.txt\n  - ../b.txt\n  - ${folder.file('b.txt')}\n`,
    )
    const { stdout } = await good(['list', '--config', 'deploy/airgap.yaml'])
    expect(stdout).toBe('docker.io/library/nginx:1\ndocker.io/library/nginx:2\n')
  })

  it('lets flags and arguments replace the keys of their names, each whole, and says so', async () => {
    await writeFile(folder.file('images.txt'), 'redis:7\n')
    await config(
      'images: [nginx:1, nginx:2]',
      'imagesFrom: [images.txt]',
      'exclude: [docker.io/library/redis]',
    )
    const named = await good([...LIST, 'alpine:3'])
    expect(named.stdout).toBe('docker.io/library/alpine:3\n')
    expect(named.stderr).toBe('The command line replaces images in airgap.yaml.\n')
    const both = await good([...LIST, 'alpine:3', '--exclude', '*alpine*'])
    expect(both.stdout).toBe('docker.io/library/redis:7\n')
    expect(both.stderr).toBe('The command line replaces images, exclude in airgap.yaml.\n')
    const releases = await good([...LIST, '--kubeadm', 'v1.36.3', '--exclude', '*k8s*', '--quiet'])
    expect(releases.stdout).toBe(
      'docker.io/library/nginx:1\ndocker.io/library/nginx:2\ndocker.io/library/redis:7\n',
    )
    expect(releases.stderr).toBe('')
  })

  it('takes the repository of kubeadm from one side and the release from the other', async () => {
    await config('kubeadmRepository: r.example/k8s')
    const { stdout } = await good([...LIST, '--kubeadm', 'v1.36.3', '--exclude', '*kube*'])
    expect(stdout).toBe(
      'r.example/k8s/coredns:v1.14.2\nr.example/k8s/etcd:3.6.8-0\nr.example/k8s/pause:3.10.2\n',
    )
    const alone = await run([...LIST, 'nginx'])
    expect(alone.code).toBe(2)
    expect(alone.stderr).toContain('airgap.yaml:2:20: kubeadmRepository says where kubeadm images are')
  })

  it('names the place of what cannot be read or does nothing', async () => {
    await config('imagesFrom:', '  - missing.txt')
    const missing = await run(LIST)
    expect(missing.code).toBe(7)
    expect(missing.stderr).toBe(
      'Error: airgap.yaml:3:5: cannot read missing.txt: there is no such file or folder\n',
    )
    await config('images: [nginx]', 'exclude:', '  - redis')
    expect((await good(LIST)).stderr).toBe('Warning: airgap.yaml:4:5: exclude redis excludes nothing\n')
  })

  it('does not quote a list that is something else', async () => {
    await writeFile(folder.file('environ'), 'AIRGAP_PASSWORD=secret\0HOME=/\0')
    await config('imagesFrom: [environ]')
    const { code, stderr } = await run(LIST)
    expect(code).toBe(2)
    expect(stderr).toBe('Error: environ: it contains zero bytes, so it is not text\n')
  })

  it('reports every mistake with line and column', async () => {
    await config('platfroms: [linux/amd64]', 'images:', '  - Nginx', 'password: hunter2')
    const { code, stdout, stderr } = await run(LIST)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr.split('\n')).toEqual([
      'Error: airgap.yaml: 3 mistakes',
      '  - airgap.yaml:2:1: there is no key "platfroms"; did you mean platforms?',
      '  - airgap.yaml:4:5: item 1 of images: "Nginx" is not an image reference: repository names are lower case, and "Nginx" is not',
      '  - airgap.yaml:5:1: "password" cannot be set in a config: secrets do not belong in a file that others read. Use --password-file FILE or AIRGAP_PASSWORD.',
      '`airgap init -o -` prints a config that explains every key. What changes with each run is a flag (`airgap pack --help`).',
      '',
    ])
    const { json } = await run([...LIST, '--json'])
    expect(json<{ error: object }>().error).toMatchObject({
      code: 'INVALID_CONFIG',
      problems: [{ entry: 'airgap.yaml:2:1' }, { entry: 'airgap.yaml:4:5' }, { entry: 'airgap.yaml:5:1' }],
    })
  })

  it('is not done unasked', async () => {
    await config('images: [nginx]')
    const { code, stderr } = await run(['list'])
    expect(code).toBe(2)
    expect(stderr).toBe(
      'Error: the command line names no image\nThere is an airgap.yaml in this folder. To use it: --config airgap.yaml\n',
    )
    expect((await good(['list', 'redis'])).stdout).toBe('docker.io/library/redis:latest\n')
  })
})

describe('resolve and pack --config', () => {
  let internet: Internet
  let mirrors: string[]
  beforeAll(async () => {
    internet = await startInternet()
    const { host } = internet.registry
    mirrors = [
      'mirrors:',
      `  - docker.io=${host}/docker.io`,
      `  - registry.k8s.io=${host}/registry.k8s.io`,
      'resolveFrom: mirror',
    ]
  })
  afterAll(() => internet[Symbol.asyncDispose]())

  const PLATFORMS = ['platforms:', '  - linux/amd64', '  - linux/s390x']
  const lockOf = async (file: string) =>
    JSON.parse(await readFile(folder.file(file), 'utf8')) as {
      platforms: string[]
      images: { source: string; from: string; resolvedFrom: string; digest: string; sourceDigest: string }[]
    }

  it('take platforms, mirrors and names from it, and flags instead', async () => {
    await config(
      'name: apps',
      'bundleVersion: "7"',
      'images: [nginx:1.29]',
      ...PLATFORMS,
      'allowMissingPlatform: true',
      ...mirrors,
    )
    await good(['resolve', '--config', 'airgap.yaml', '-o', 'a.lock'])
    const { platforms, images } = await lockOf('a.lock')
    expect(platforms).toEqual(['linux/amd64', 'linux/s390x'])
    expect(images).toMatchObject([
      {
        source: 'docker.io/library/nginx:1.29',
        from: 'config',
        resolvedFrom: `${internet.registry.host}/docker.io/library/nginx`,
      },
    ])

    const pack = ['pack', '--config', 'airgap.yaml', '--no-sign', '--dry-run', '--json', '-o', 'x.tar']
    expect((await good(pack)).json()).toMatchObject({
      bundle: { name: 'apps', version: '7' },
      platforms: ['linux/amd64', 'linux/s390x'],
    })
    const flags = ['--name', 'other', '--bundle-version', '8', '--platform', 'all']
    expect((await good([...pack, ...flags])).json()).toMatchObject({
      bundle: { name: 'other', version: '8' },
      platforms: 'all',
    })

    const strict = await run([...pack, '--no-allow-missing-platform'])
    expect(strict.code).toBe(4)
    expect(strict.stdout).toContain('does not have linux/s390x')
  })

  it('let a tag be resolved by whom the flag says', async () => {
    const { host } = internet.registry
    // The same registry by another name stands for its mirror.
    const mirror = `localhost:${host.split(':')[1]}/docker.io`
    await config(
      `images: ["${host}/docker.io/library/nginx:1.29"]`,
      `mirrors: ["${host}/docker.io=${mirror}"]`,
      'resolveFrom: mirror',
    )
    const resolve = ['resolve', '--config', 'airgap.yaml', '--json']
    expect((await good(resolve)).json()).toMatchObject({
      images: [{ resolvedFrom: `${mirror}/library/nginx` }],
    })
    const bySource = await good([...resolve, '--resolve-from', 'source'])
    expect(bySource.json()).toMatchObject({ images: [{ resolvedFrom: 'source' }] })
  })

  it('say that a lock is older than the config, and pack the lock', async () => {
    await config('images: [nginx:1.29]', 'platforms: [linux/amd64]', ...mirrors)
    await good(['resolve', '--config', 'airgap.yaml', '-o', 'a.lock'])
    const pack = [
      'pack',
      '--config',
      'airgap.yaml',
      '--lock',
      'a.lock',
      '--no-sign',
      '--dry-run',
      '-o',
      'x.tar',
    ]
    expect((await good(pack)).stderr).not.toContain('Warning')
    await config('images: [redis:7, redis:8]', 'platforms: [linux/arm64]', ...mirrors)
    const { stdout, stderr } = await good(pack)
    expect(stdout).toContain('docker.io/library/nginx:1.29')
    expect(stderr).toContain(
      'Warning: a.lock does not match airgap.yaml: it lacks docker.io/library/redis:7 and 1 more; it also has docker.io/library/nginx:1.29; it is for the platforms linux/amd64 instead of linux/arm64. Packing the lock as it is. To renew it: airgap resolve --config airgap.yaml -o a.lock --force\n',
    )
    await config('imagesFrom: [missing.txt]', ...mirrors)
    expect((await good(pack)).stderr).toContain(
      'Warning: a.lock cannot be compared with airgap.yaml: cannot read missing.txt',
    )
  })

  it('leave alone what a lock says', async () => {
    await config('name: apps', 'images: [nginx:1.29]', 'platforms: [linux/amd64]', ...mirrors)
    await good(['resolve', '--config', 'airgap.yaml', '-o', 'a.lock'])
    const { images } = await lockOf('a.lock')
    const packed = await good([
      'pack',
      '--config',
      'airgap.yaml',
      '--lock',
      'a.lock',
      '--no-sign',
      '-o',
      'x.tar',
      '--json',
    ])
    expect(packed.json()).toMatchObject({ bundle: { name: 'apps' }, platforms: ['linux/amd64'], images })
    const refused = await run([
      'pack',
      '--config',
      'airgap.yaml',
      '--lock',
      'a.lock',
      '--no-sign',
      '-o',
      'y.tar',
      'redis',
    ])
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain('image arguments cannot be given with it')
  })

  it('do not sign by it', async () => {
    await config('images: [nginx:1.29]', ...mirrors)
    const { code, stderr } = await run(['pack', '--config', 'airgap.yaml', '-o', 'x.tar'])
    expect(code).toBe(2)
    expect(stderr).toContain('give one of --key FILE, --sign-command COMMAND, --keyless and --no-sign')
  })
})
