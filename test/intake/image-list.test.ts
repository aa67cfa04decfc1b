import { describe, expect, it } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import { parseImageList } from '../../src/intake/image-list.ts'
import { formatReference } from '../../src/oci/reference.ts'

const list = (text: string): string[] => parseImageList(Buffer.from(text), 'images.txt').map(formatReference)

function refusal(bytes: Buffer): AirgapError {
  try {
    parseImageList(bytes, 'images.txt')
  } catch (error) {
    if (error instanceof AirgapError) return error
    throw error
  }
  throw new Error('the list was accepted')
}

describe('image lists', () => {
  it('takes what kubeadm prints as it is', () => {
    const printed = ['registry.k8s.io/kube-apiserver:v1.36.3', 'registry.k8s.io/pause:3.10.2', ''].join('\n')
    expect(list(printed)).toEqual(['registry.k8s.io/kube-apiserver:v1.36.3', 'registry.k8s.io/pause:3.10.2'])
  })

  it("takes kubeadm's JSON, too", () => {
    const images = ['registry.k8s.io/kube-apiserver:v1.36.3', 'registry.k8s.io/pause:3.10.2']
    const printed = { kind: 'Images', apiVersion: 'output.kubeadm.k8s.io/v1alpha3', images }
    expect(list(`${JSON.stringify(printed, undefined, 4)}\n`)).toEqual(images)
    expect(list(`\uFEFF${JSON.stringify(printed)}\r\n`)).toEqual(images)
    expect(list(JSON.stringify({ ...printed, images: [] }))).toEqual([])
    const bad = refusal(Buffer.from(JSON.stringify({ ...printed, images: ['nginx', 'Nginx:1'] })))
    expect(bad.message).toMatch(/^images\.txt: images\[1\]: "Nginx:1" is not an image reference/)
  })

  it.each([
    ['{"images": ["nginx"]}', /^images\.txt: it is JSON, not a list of image references$/],
    [
      '{"kind": "Images", "apiVersion": "v1", "images": ["nginx"]}',
      /^images\.txt: it is JSON, not a list of image references$/,
    ],
    [
      '{"kind": "Images", "apiVersion": "output.kubeadm.k8s.io/v1", "images": "nginx"}',
      /^images\.txt: it is JSON, not a list/,
    ],
    ['{"kind": "Images", ', /^images\.txt: it is not JSON$/],
  ])('takes no other JSON: %s', (text, message) => {
    const error = refusal(Buffer.from(text))
    expect(error.code).toBe('INVALID_LIST')
    expect(error.message).toMatch(message)
  })

  it('allows comments, blank lines, a byte order mark, Windows line ends and no last line end', () => {
    expect(list('\uFEFF# ours\r\n\r\n  nginx:1.27  # the web server\r\n\tredis')).toEqual([
      'docker.io/library/nginx:1.27',
      'docker.io/library/redis:latest',
    ])
  })

  it('names file, line and reason of a bad line', () => {
    const error = refusal(Buffer.from('nginx\n\nNginx:1\n'))
    expect(error.code).toBe('INVALID_LIST')
    expect(error.message).toMatch(/^images\.txt:3: "Nginx:1" is not an image reference: .*lower case/)
  })

  it('names every bad line', () => {
    const error = refusal(Buffer.from('a b\nnginx\nhttps://x.example/y\n'))
    expect(error.problems.map(({ entry }) => entry)).toEqual(['images.txt:1', 'images.txt:3'])
    expect(error.problems[1]?.message).toContain('Leave the scheme out')
  })

  it('says how to save a list that is UTF-16', () => {
    const error = refusal(Buffer.from('\uFEFFnginx\n', 'utf16le'))
    expect(error.message).toContain('not UTF-8')
    expect(error.hint).toContain('UTF-16')
  })
})
