import { once } from 'node:events'
import { request } from 'node:http'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import { scratch, serve } from '../client.ts'
import { expectNoSecrets, forgetSecrets, leaksIn, noteAuthorization, noteLogin, noteSecret } from './known.ts'
import { watchRun } from './of-run.ts'
import { printed } from './printed.ts'
import { errorsSoFar } from './setup.ts'

const PASSWORD = 'gr3en "tea" & milk/ö'
const BASE64 = Buffer.from(`bob:${PASSWORD}`).toString('base64')

// Secrets of other files that ran in this process are none of these tests'.
beforeAll(forgetSecrets)
afterEach(forgetSecrets)

describe('a secret that leaks on purpose is found', () => {
  test.each([
    ['plain', PASSWORD],
    ['JSON', JSON.stringify({ x: PASSWORD })],
    ['percent-encoded', `https://h/?p=${encodeURIComponent(PASSWORD)}`],
    ['hex', Buffer.from(PASSWORD).toString('hex')],
    ['base64', Buffer.from(PASSWORD).toString('base64')],
    ['base64url', Buffer.from(PASSWORD).toString('base64url')],
    ['base64, as a login', BASE64],
    ['base64, with one byte in front', Buffer.from(`x${PASSWORD}y`).toString('base64')],
    ['base64, with two bytes in front', Buffer.from(`xy${PASSWORD}z`).toString('base64')],
  ])('%s', (_, text) => {
    const around = `before ${text} behind`
    expect(leaksIn(around)).toEqual([])
    noteLogin('bob', PASSWORD)
    expect(leaksIn(around)).not.toEqual([])
    expect(() => expectNoSecrets(around, 'here')).toThrow(
      /^a secret shows in here: the (?:password|login) of bob/,
    )
  })

  test('a token, and a short password as part of its login', () => {
    noteAuthorization('Bearer opaque-t0ken-7')
    expect(leaksIn('x opaque-t0ken-7 y')).toEqual([{ what: 'a Bearer token', as: 'plain' }])
    noteAuthorization(`Basic ${Buffer.from('al:pw').toString('base64')}`)
    expect(leaksIn('the pw of al')).toEqual([])
    expect(leaksIn('it said YWw6cHc=')).not.toEqual([])
  })

  test('the message of the finding does not show it again', () => {
    noteSecret(PASSWORD, 'a password')
    expect(() => expectNoSecrets(PASSWORD, 'here')).toThrow(
      expect.not.objectContaining({ message: PASSWORD }),
    )
  })
})

describe('what has the form of a secret is found, known or not', () => {
  test.each([
    'authorization: Basic YWJj',
    '{"Authorization":"Bearer x"}',
    'answered to Bearer abc-def-0123456789',
    'with Basic dXNlcjpwYXNz',
    'token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2ln',
    '-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49',
    '-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neyJrZGYiOnsibmFtZSI6',
    'https://bob:word@h/x',
    'http://bob@h/x',
    'socks5://u:p@h:1',
    'https://h/x?X-Amz-Signature=abc',
    'https://h/v2/u/1?a=b&_state=abc',
    '?X-Signature=abc',
    '&amp;sig=abc',
  ])('%s', (text) => {
    expect(leaksIn(`before ${text} behind`).length).toBe(1)
  })

  test.each([
    'the registry wants Basic authentication',
    'Bearer challenge',
    'docker.io/library/nginx:1.27@sha256:0123',
    'https://registry.example/v2/',
    'it must begin with -----BEGIN PRIVATE KEY-----',
    'set HTTPS_PROXY=http://USER:PASSWORD@proxy.example:3128',
    'https://…@h/x?…',
  ])('and this is none: %s', (text) => {
    expect(leaksIn(text)).toEqual([])
  })

  test('a form that is meant to be there can be allowed', () => {
    const key = '-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neyJrZGYiOnsibmFtZSI6'
    expect(leaksIn(key, ['an encrypted private key'])).toEqual([])
  })
})

describe('in a run of a command', () => {
  const quiet = { stdout: '', stderr: '' }

  test.each<[string, (folder: string) => Parameters<typeof watchRun>[0]]>([
    ['a variable', () => ({ args: ['pack'], env: { AIRGAP_PASSWORD: PASSWORD } })],
    [
      'a proxy',
      () => ({ args: ['pack'], env: { HTTPS_PROXY: `http://u:${encodeURIComponent(PASSWORD)}@proxy:1` } }),
    ],
    ['standard input', () => ({ args: ['login', '--password-stdin'], stdin: `${PASSWORD}\n` })],
    [
      'a file of credentials',
      (folder) => {
        writeFileSync(join(folder, 'auth.json'), JSON.stringify({ auths: { h: { auth: BASE64 } } }))
        return { args: ['pack', '--auth-file', 'auth.json'], cwd: folder }
      },
    ],
    [
      'a file with an identity token',
      (folder) => {
        writeFileSync(
          join(folder, 'config.json'),
          JSON.stringify({ auths: { h: { identitytoken: PASSWORD } } }),
        )
        return { args: ['pack'], cwd: folder, env: { DOCKER_CONFIG: folder } }
      },
    ],
    [
      'a file of a password',
      (folder) => {
        writeFileSync(join(folder, 'pw'), `${PASSWORD}\n`)
        return { args: ['keygen', '--password-file=pw'], cwd: folder }
      },
    ],
  ])('the secret of %s', (_, start) => {
    const folder = scratch()
    const watch = watchRun(start(folder))
    watch.check(quiet)
    expect(() => watch.check({ ...quiet, stderr: `x ${PASSWORD}` })).toThrow(/standard error/)
    expect(() => watch.check({ ...quiet, stdout: `x ${PASSWORD}` })).toThrow(/standard output/)
    expect(() => watchRun({ args: ['x'] }).check({ ...quiet, stderr: BASE64 })).toThrow(
      /login|password|token/i,
    )
  })

  test('a file that it writes, and not one that was there', () => {
    const folder = scratch()
    writeFileSync(join(folder, 'before.json'), 'https://u:p@h')
    const watch = watchRun({ args: ['push'], cwd: folder })
    watch.check(quiet)
    writeFileSync(join(folder, 'receipt.json'), '{"url":"https://u:p@h"}')
    expect(() => watch.check(quiet)).toThrow(/the user part of a URL \(form\)/)
    expect(() => watch.check(quiet)).toThrow(/receipt\.json, written by airgap push/)
  })
})

describe('in this process', () => {
  test('what a server receives is a secret from then on', async () => {
    const server = await serve((_, response) => void response.end())
    expect(leaksIn(PASSWORD)).toEqual([])
    const sent = request(`${server.origin}/x?X-Signature=si9nature`, {
      headers: { authorization: `Basic ${BASE64}` },
    }).end()
    await once(sent, 'response')
    expect(leaksIn(PASSWORD)).not.toEqual([])
    expect(leaksIn('si9nature')).not.toEqual([])
  })

  test.each<[string, () => AirgapError]>([
    ['message', () => new AirgapError('INTERNAL', `x ${PASSWORD}`)],
    ['hint', () => new AirgapError('INTERNAL', 'x', { hint: PASSWORD })],
    ['problems', () => new AirgapError('INTERNAL', 'x', { problems: [{ entry: 'e', message: PASSWORD }] })],
    ['entries', () => new AirgapError('INTERNAL', 'x', { problems: [{ entry: PASSWORD, message: 'm' }] })],
    [
      'causes',
      () => new AirgapError('INTERNAL', 'x', { cause: new Error('y', { cause: new Error(PASSWORD) }) }),
    ],
  ])('the %s of every error that is made', (_, make) => {
    make()
    const [made] = errorsSoFar().splice(0)
    expect(made).toBeInstanceOf(AirgapError)
    noteSecret(PASSWORD, 'a password')
    expect(leaksIn(printed(made))).toEqual([{ what: 'a password', as: 'plain' }])
  })

  test('an error is an error as before', () => {
    const error = new AirgapError('NETWORK', 'x', { cause: 1 })
    expect(error).toBeInstanceOf(Error)
    expect([error.name, error.cause, error.exitCode, String(error)]).toEqual([
      'AirgapError',
      1,
      4,
      'AirgapError: x',
    ])
  })
})
