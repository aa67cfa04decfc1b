import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { describe, test } from 'vitest'

/** What the suite uses of the machine: programs, and two abilities that need root. */
const PARTS = {
  'apt-get': 'package apt',
  'dpkg-deb': 'package dpkg',
  setpriv: 'package util-linux',
  openssl: 'package openssl',
  htpasswd: 'package apache2-utils',
  tar: 'package tar',
  'docker-registry': 'package docker-registry',
  skopeo: 'package skopeo',
  umoci: 'package umoci',
  buildah: 'package buildah',
  podman: 'package podman',
  containerd: 'package containerd',
  ctr: 'package containerd',
  zsh: 'package zsh',
  man: 'package man-db',
  mandoc: 'package mandoc',
  tinyproxy: 'package tinyproxy',
  nginx: 'package nginx-light',
  cosign: 'go install github.com/sigstore/cosign/v3/cmd/cosign',
  'cosign-2':
    'go install github.com/sigstore/cosign/v2/cmd/cosign, renamed to cosign-2 or named by AIRGAP_COSIGN_2',
  'softhsm2-util': 'package softhsm2',
  'pkcs11-tool': 'package opensc',
  crane: 'go install github.com/google/go-containerregistry/cmd/crane',
  'policy-copy': 'go build in test/e2e/parts/policy-copy, as .ci/run does',
  registry: 'go install github.com/distribution/distribution/v3/cmd/registry',
  regctl: 'go install github.com/regclient/regclient/cmd/regctl',
  zot: 'a release of zot, on PATH',
  'network namespaces': 'root, or the right to call unshare -n',
  tmpfs: 'root, or the right to mount one',
  chroot: 'root, or the right to call chroot',
  ldd: 'package libc-bin',
  script: 'package bsdutils',
  ip: 'package iproute2',
} as const

export type Part = keyof typeof PARTS

const FROM_GO: ReadonlySet<Part> = new Set<Part>(['cosign', 'crane', 'policy-copy', 'registry', 'regctl'])

const found = new Map<Part, boolean>()

export function has(part: Part): boolean {
  let answer = found.get(part)
  if (answer === undefined) {
    answer = probe(part)
    found.set(part, answer)
  }
  return answer
}

function probe(part: Part): boolean {
  if (part === 'network namespaces') return succeeds('unshare', ['-n', 'true'])
  if (part === 'chroot') return succeeds('chroot', ['/', 'true'])
  // In a mount namespace of its own, so that the probe leaves nothing mounted.
  if (part === 'tmpfs')
    return succeeds('unshare', ['-m', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', '/mnt'])
  return isOnPath(part === 'cosign-2' ? COSIGN_2 : part)
}

/** cosign before 3.0. */
export const COSIGN_2 = process.env['AIRGAP_COSIGN_2'] ?? 'cosign-2'

export function isOnPath(program: string): boolean {
  if (isAbsolute(program)) return existsSync(program)
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function succeeds(command: string, args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}

/** With AIRGAP_E2E=required a missing part is a failure. */
function isRequired(part: Part): boolean {
  if (process.env['AIRGAP_E2E'] !== 'required') return false
  // zot's module is not to be had from every module proxy, and a second cosign takes long to build: no machine can be
  // required to have them.
  if (part === 'zot' || part === 'cosign-2') return false
  return !FROM_GO.has(part) || isOnPath('go')
}

/**
 * A group of tests that needs parts of the machine. Where one is missing the group is skipped under a name that
 * says so, or fails where the part is required.
 */
export function withParts(name: string, parts: readonly Part[], body: () => void): void {
  const missing = parts.filter((part) => !has(part))
  if (missing.length === 0) {
    describe(name, body)
    return
  }
  const required = missing.filter((part) => isRequired(part))
  if (required.length === 0) {
    describe.skip(`${name} (missing: ${missing.join(', ')})`, body)
    return
  }
  test(`${name}: every part is there`, () => {
    throw new Error(required.map((part) => `${part} is missing: ${PARTS[part]}`).join('\n'))
  })
}

/** What is missing, as one block to read; undefined when nothing is. */
export function missingParts(): string | undefined {
  const missing = (Object.keys(PARTS) as Part[]).filter((part) => !has(part))
  if (missing.length === 0) return undefined
  const width = Math.max(...missing.map((part) => part.length))
  const lines = missing.map((part) => {
    const state = isRequired(part) ? 'REQUIRED' : 'skipped'
    return `  ${part.padEnd(width)}  ${state}  (${PARTS[part]})`
  })
  return ['Missing on this machine, with what is tested by them:', ...lines].join('\n')
}
