import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { residentAirgap as airgap, scratch } from '../support/airgap.ts'

describe('airgap list', () => {
  it('prints fully qualified references, sorted, each once', async () => {
    const { code, stdout, stderr } = await airgap([
      'list',
      'redis',
      'nginx:1.27',
      'docker.io/library/redis',
      'ghcr.io/a/b:1',
    ])
    expect(stdout).toBe('docker.io/library/nginx:1.27\ndocker.io/library/redis:latest\nghcr.io/a/b:1\n')
    expect(stderr).toBe('')
    expect(code).toBe(0)
  })

  it('reads lists from standard input and files, and its own output is a list', async () => {
    await using folder = await scratch()
    await writeFile(folder.file('a.txt'), '# ours\nnginx:1.27\n')
    const first = await airgap(['list', '--images-from', '-', '--images-from', folder.file('a.txt')], {
      stdin: 'registry.k8s.io/pause:3.10.2\r\n',
    })
    expect(first.stdout).toBe('docker.io/library/nginx:1.27\nregistry.k8s.io/pause:3.10.2\n')
    const second = await airgap(['list', '--images-from', '-'], { stdin: first.stdout })
    expect(second.stdout).toBe(first.stdout)
  })

  it('leaves out what --exclude says, also when an image follows the flag', async () => {
    const { stdout } = await airgap([
      'list',
      '--kubeadm',
      'v1.36.3',
      '--exclude',
      'registry.k8s.io/kube-*',
      'nginx',
    ])
    expect(stdout.split('\n').filter(Boolean)).toEqual([
      'docker.io/library/nginx:latest',
      'registry.k8s.io/coredns/coredns:v1.14.2',
      'registry.k8s.io/etcd:3.6.8-0',
      'registry.k8s.io/pause:3.10.2',
    ])
  })

  it('warns of an --exclude that leaves nothing out', async () => {
    const { code, stderr } = await airgap(['list', 'nginx', '--exclude', 'redis'])
    expect(stderr).toContain('the pattern redis excludes nothing')
    expect(code).toBe(0)
  })

  it('gives the kind of input with --json', async () => {
    const { json } = await airgap([
      'list',
      '--json',
      '--kubeadm',
      '1.36.3',
      '--exclude',
      '*kube*',
      '--exclude',
      '*etcd*',
      'nginx',
    ])
    expect(json()).toEqual({
      images: [
        { source: 'docker.io/library/nginx:latest', from: 'argument' },
        { source: 'registry.k8s.io/coredns/coredns:v1.14.2', from: 'kubeadm' },
        { source: 'registry.k8s.io/pause:3.10.2', from: 'kubeadm' },
      ],
    })
  })

  it('names file and line of a bad reference', async () => {
    await using folder = await scratch()
    await writeFile(folder.file('images.txt'), 'nginx\nregistry.example/App:1\n')
    const { code, stdout, stderr } = await airgap(['list', '--images-from', 'images.txt'], {
      cwd: folder.path,
    })
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain('images.txt:2: "registry.example/App:1" is not an image reference')
  })

  it.each([
    [['list'], 'no image is named'],
    [['list', 'nginx@sha512:' + 'a'.repeat(128)], 'only sha256 is supported'],
    [['list', '--kubeadm', 'v1.99.0'], 'kubeadm config images list'],
    [['list', '--images-from', '/nonexistent/list.txt'], 'cannot read /nonexistent/list.txt'],
    [['list', '--kubeadm-repository', 'r.example/k', 'nginx'], 'no release of kubeadm'],
    [['list', '--nonsense'], '--nonsense'],
    [['list', 'nginx', '--exclude', '*'], 'every image is excluded'],
  ])('%j is refused', async (args, words) => {
    const { code, stdout, stderr } = await airgap(args)
    expect(stderr).toContain(words)
    expect(stderr).not.toContain('    at ')
    expect(stdout).toBe('')
    expect(code).toBe(words.startsWith('cannot read') ? 7 : 2)
  })

  it('gives errors as a document with --json', async () => {
    const { code, json, stderr } = await airgap(['list', '--json', 'Nginx'])
    expect(code).toBe(2)
    expect(stderr).toBe('')
    expect(json()).toEqual({
      error: {
        code: 'INVALID_REFERENCE',
        message: expect.stringContaining('"Nginx" is not an image reference') as string,
      },
    })
  })

  it('gives a mistake in the flags as a document with --json, too', async () => {
    const { code, json } = await airgap(['list', '--json', '--nonsense'])
    expect(code).toBe(2)
    expect(json<{ error: { code: string } }>().error.code).toBe('USAGE')
  })
})

describe('foreign text', () => {
  it('[duty: foreign-text] cannot move the cursor or turn the direction of a line', async () => {
    const { stderr } = await airgap(['list', 'a\u001b[2J\u202eb'])
    expect(stderr).not.toContain('\u001b[2J')
    expect(stderr).not.toContain('\u202e')
  })
})

describe('a reader that has had enough', () => {
  it('is no error', async () => {
    const run = join(import.meta.dirname, '../../bin/run.js')
    const script = `"$1" "$2" list --kubeadm v1.36.3 | true; exit "\${PIPESTATUS[0]}"`
    const { stderr } = await promisify(execFile)('bash', ['-c', script, 'bash', process.execPath, run])
    expect(stderr).toBe('')
  })
})
