import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { COMMANDS } from '../../../src/cli/plugin.ts'

const SRC = join(import.meta.dirname, '../../../src')
const OF_THE_COMMAND_LINE = /^(?:cli|commands)\//
const ALL = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))

/** Lines of code, without comments; each with where it stands. */
function linesOf(file: string): { at: string; code: string }[] {
  return readFileSync(join(SRC, file), 'utf8')
    .split('\n')
    .map((code, i) => ({ at: `${file}:${i + 1}`, code }))
    .filter(({ code }) => !/^\s*(?:\*|\/\/|\/\*)/.test(code))
}

/** Programs that messages tell people to run, with flags of their own. */
const OTHER_PROGRAMS = /\b(?:cosign|kubeadm|kubectl|openssl|curl|grep|docker|podman)\b/
const FLAG = /(?:^|[\s'"`(])--[a-z][a-z-]+/
const COMMAND = new RegExp(`\\bairgap (?:${Object.keys(COMMANDS).join('|')})\\b`)

test('nothing outside the command line names one of its flags or commands', () => {
  const found = ALL.filter((file) => !OF_THE_COMMAND_LINE.test(file))
    .flatMap(linesOf)
    .filter(({ code }) => COMMAND.test(code) || (FLAG.test(code) && !OTHER_PROGRAMS.test(code)))
  expect(found).toEqual([])
})

/** Messages of Node.js, of libraries and of registries, where nothing else says what has happened. */
const MESSAGES_OF_OTHERS = new Set([
  'registry/faults/transport.ts',
  'registry/endpoint.ts',
  'registry/net/proxy-fault.ts',
  'registry/vendors/harbor.ts',
  'push/refusals.ts',
  'inputs/mirrors/toml-file.ts',
  'trust/identity/reasons.ts',
])

test('no code reads a message', () => {
  const reading =
    /\bmessage\)?\.(?:includes|startsWith|endsWith|match|search|replace|replaceAll|indexOf)\(|\.(?:test|exec)\((?:\w+\.)*message(?:Of\(\w+\))?\)/
  const found = ALL.filter((file) => !MESSAGES_OF_OTHERS.has(file))
    .flatMap(linesOf)
    .filter(({ code }) => reading.test(code))
  expect(found).toEqual([])
})

test('nothing keeps facts of errors beside them', () => {
  const found = ALL.flatMap(linesOf).filter(({ code }) =>
    /new Weak(?:Map|Set)<(?:\w*Error|unknown)/.test(code),
  )
  expect(found).toEqual([])
})
