import { hintText } from '../../src/hints.ts'
import { describe, expect, it } from 'vitest'
import { AirgapError } from '../../src/errors.ts'
import { parseImageList } from '../../src/inputs/image-list.ts'
import { formatReference } from '../../src/oci/reference.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

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

  it.each([
    ['images:\n- nginx:1.27\n', 3, /This looks like YAML\. .*Give airgap\.yaml with --config/],
    ['apiVersion: v1\nkind: Pod\n', 2, /YAML/],
    ['- name: web\n  image: nginx\n', 2, /YAML/],
    ['---\n', 1, /YAML/],
    ['--platform=linux/amd64 nginx:1.27\n', 1, /Give --platform to the command; it applies to all images/],
    ['nginx:1.27 --platform linux/arm64\n', 1, /Give --platform to the command/],
    ['FROM --platform=linux/amd64 nginx:1.27 AS web\n', 1, /Dockerfile: use only the reference after FROM/],
  ])('gives a hint about the form of %j', (text, lines, hint) => {
    const error = refusal(Buffer.from(text))
    expect(error.code).toBe('INVALID_LIST')
    expect(hintOf(error)).toMatch(/^A list has one reference per line, and nothing else/)
    expect(hintOf(error)).toMatch(hint)
    expect(Math.max(error.problems.length, 1)).toBeLessThanOrEqual(lines)
  })

  it('gives no such hint where a reference is merely wrong', () => {
    for (const text of ['Nginx:1', 'nginx:', 'registry.example/App', 'a//b'])
      expect(refusal(Buffer.from(text)).hint).toBe(
        'A list has one reference per line, and nothing else; comments begin with #.',
      )
  })

  it('names file, line and reason of a bad line', () => {
    const error = refusal(Buffer.from('nginx\n\nNginx:1\n'))
    expect(error.code).toBe('INVALID_LIST')
    expect(error.message).toMatch(/^images\.txt:3: "Nginx:1" is not an image reference: .*lower case/)
  })

  it('names every bad line', () => {
    const error = refusal(Buffer.from('a b\nnginx\nhttps://x.example/y\n'))
    expect(error.problems.map(({ entry }) => entry)).toEqual(['images.txt:1', 'images.txt:3'])
    expect(hintText(error.problems[1]?.hints ?? [])).toContain('Leave the scheme out')
  })

  it('says how to save a list that is UTF-16', () => {
    const error = refusal(Buffer.from('\uFEFFnginx\n', 'utf16le'))
    expect(error.message).toContain('not UTF-8')
    expect(hintOf(error)).toContain('UTF-16')
  })
})
