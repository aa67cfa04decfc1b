import { generateKeyPairSync, sign } from 'node:crypto'
import { access, chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { parsePublicKey, type PublicKey, type SigningKey } from '../../src/trust/keys.ts'
import { openSignCommand } from '../../src/trust/sign-command.ts'
import { signBytes } from '../../src/trust/signature.ts'
import { verifySignature } from '../../src/trust/verify.ts'
import { errorOf, temporaryFile, temporaryFolder } from './helpers.ts'

const PAYLOAD = Buffer.from('SHA256SUMS, more or less\n')

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
let ours: PublicKey
let good: Buffer

beforeAll(() => {
  ours = parsePublicKey(Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })), 'hsm.pub')
  good = sign('sha256', PAYLOAD, privateKey)
})

/** A command that runs this in a shell, which is named for it: the engine itself has none. */
async function shell(
  script: string,
  more: { env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<SigningKey> {
  return openSignCommand({
    command: ['/bin/sh', '-c', script, 'sh', '--pin', '73570'],
    publicKey: ours,
    ...more,
  })
}

/** `printf` of these bytes. */
const printing = (bytes: Uint8Array): string =>
  `printf '${[...bytes].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')}'`

async function failureOf(key: SigningKey, payload: Uint8Array = PAYLOAD) {
  const error = await errorOf(() => signBytes(payload, key))
  expect(error.code).toBe('SIGNING')
  expect(JSON.stringify([error.message, error.hint, error.problems])).not.toContain('73570')
  return error
}

describe.skipIf(process.platform === 'win32')('a key held elsewhere', () => {
  it('signs what comes on standard input, with nothing between', async () => {
    const script = `
      import { sign } from 'node:crypto'
      const bytes = await new Response(process.stdin).bytes()
      process.stdout.write(sign('sha256', bytes, process.env.TEST_KEY))`
    const file = await temporaryFile(script, 'sign it.mjs')
    const env = {
      ...process.env,
      TEST_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    }
    const key = await openSignCommand({ command: `'${process.execPath}' '${file}'`, publicKey: ours, env })
    const payload = Buffer.alloc(5_000_000, 'every byte counts, and there are many ')
    const { bundleJson, der } = await signBytes(payload, key)
    const verdict = verifySignature({ payload, signature: { bundleJson, der }, keys: [ours] })
    expect(verdict).toMatchObject({ ok: true })
  })

  it('answers in DER or in base64, and signatures have one spelling', async () => {
    const raw = await signBytes(PAYLOAD, await shell(printing(good)))
    const text = await signBytes(PAYLOAD, await shell(`echo ${good.toString('base64')}`))
    expect(raw.bundleJson.equals(text.bundleJson)).toBe(true)
  })

  it('need not read what it gets', async () => {
    const payload = Buffer.alloc(3_000_000, 'x')
    const early = sign('sha256', payload, privateKey)
    await signBytes(payload, await shell(`exec <&-; ${printing(early)}`))
  })

  it.each<[string, string, RegExp]>([
    ['prints nothing', 'cat >/dev/null', /the sign command sh printed nothing/],
    ['prints too much', 'yes | head -c 100000', /answered with more than 4096 bytes/],
    ['prints without end', 'yes', /answered with more than 4096 bytes/],
    ['prints words', 'echo hello', /printed 6 bytes that are not a signature/],
    [
      'prints a bundle',
      `echo '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}'`,
      /are not a signature/,
    ],
    ['prints a signature and more', 'SIG; echo', /are not a signature/],
    ['exits 1', 'exit 1', /failed with exit status 1/],
    ['exits 1 with a signature', 'SIG; exit 1', /failed with exit status 1/],
    ['is killed', 'kill -9 $$', /was ended by SIGKILL/],
    ['ends itself', 'SIG; kill -TERM $$', /was ended by SIGTERM/],
  ])('that %s has signed nothing', async (_, script, message) => {
    const { message: said } = await failureOf(await shell(script.replace('SIG', printing(good))))
    expect(said).toMatch(message)
    expect(said).toContain('nothing was signed')
  })

  it('that signs with another key has signed nothing: both are named', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const foreign = sign('sha256', PAYLOAD, other.privateKey)
    const { message } = await failureOf(await shell(printing(foreign)))
    expect(message).toContain(ours.fingerprint)
    expect(message).toContain('hsm.pub')
  })

  it('that signs other bytes, or another hash of them, has signed nothing', async () => {
    for (const bytes of [sign('sha256', Buffer.from('x'), privateKey), sign('sha512', PAYLOAD, privateKey)]) {
      expect((await failureOf(await shell(printing(bytes)))).message).toContain('not a signature by the key')
    }
  })

  it('that hangs is ended', async () => {
    const hangs = await shell('trap "" TERM; while :; do sleep 0.05; done', { timeoutMs: 200 })
    expect((await failureOf(hangs)).message).toMatch(/did not answer within 0\.2 s/)
  })

  it('that leaves somebody behind who holds its output is ended, too', async () => {
    const leaves = await shell(`sleep 3 & ${printing(good)}`, { timeoutMs: 200 })
    expect((await failureOf(leaves)).message).toMatch(/did not answer within/)
  })

  it('is ended by the signal, whose reason is what is thrown', async () => {
    const folder = await temporaryFolder()
    const key = await shell(`touch '${folder}/begun'; exec sleep 30`)
    const abort = new AbortController()
    const signing = signBytes(PAYLOAD, key, abort.signal)
    const ended = expect(signing).rejects.toThrow('enough')
    await vi.waitFor(() => access(join(folder, 'begun')), { timeout: 60_000, interval: 5 })
    abort.abort(new Error('enough'))
    await ended
    await expect(signBytes(PAYLOAD, key, AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
  })

  it('is quoted with the last it has complained of, without the PIN among its arguments', async () => {
    const key = await shell('for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "line $i: $*" >&2; done; exit 3')
    const { message, problems } = await failureOf(key)
    expect(message).toContain('exit status 3')
    expect(problems).toHaveLength(10)
    expect(problems.at(-1)).toEqual({ entry: 'sh', message: 'line 12: --pin …' })
  })

  it('cannot fill memory with complaints', async () => {
    const key = await shell('yes 0123456789 | head -c 3000000 >&2; exit 1')
    expect(JSON.stringify((await failureOf(key)).problems).length).toBeLessThan(10_000)
  })

  it('[duty: sign-command] gets none of our secrets', async () => {
    const env = {
      PATH: process.env['PATH'],
      AIRGAP_PASSWORD: 'one',
      COSIGN_PASSWORD: 'two',
      AIRGAP_REGISTRY_PASSWORD_FILE: 'three',
      PIN: 'theirs',
    }
    const { problems } = await failureOf(await shell('env | sort >&2; exit 1', { env }))
    const said = problems.map(({ message }) => message).join('\n')
    expect(said).toContain('PIN=theirs')
    expect(said).not.toMatch(/AIRGAP|COSIGN/)
  })
})

describe.skipIf(process.platform === 'win32')('the program of a sign command', () => {
  const open = (command: string | string[], env?: NodeJS.ProcessEnv): Promise<SigningKey> =>
    openSignCommand({ command, publicKey: ours, env })

  it('is found in the absolute entries of PATH, and nowhere else', async () => {
    const folder = await temporaryFolder()
    await mkdir(join(folder, 'bin'))
    const program = join(folder, 'bin', 'our-signer')
    await writeFile(program, `#!/bin/sh\n${printing(good)}\n`)
    await chmod(program, 0o755)
    const before = process.cwd()
    process.chdir(folder)
    try {
      for (const PATH of ['bin', '', '.:bin']) {
        const error = await errorOf(() => open('our-signer', { PATH }))
        expect(error.code).toBe('USAGE')
        expect(error.message).toContain('PATH has no such program')
      }
      expect((await errorOf(() => open('bin/our-signer'))).message).toContain('relative path')
      expect((await errorOf(() => open('./our-signer'))).message).toContain('relative path')
    } finally {
      process.chdir(before)
    }
    const key = await open('our-signer', { PATH: `bin:/usr/bin:/bin:${folder}/bin` })
    expect(key.heldBy).toBe('our-signer')
    await signBytes(PAYLOAD, key)
    await chmod(program, 0o644)
    expect((await errorOf(() => open(program))).message).toContain('not an executable program')
    expect((await errorOf(() => open(folder))).message).toContain('not an executable program')
  })

  it('has to be named', async () => {
    for (const command of ['', [], ['']]) expect((await errorOf(() => open(command))).code).toBe('USAGE')
  })
})

describe('another kind of key', () => {
  it.skipIf(process.platform === 'win32')('P-384 may sign SHA-384, as key services do', async () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    const source = 'kms.pub'
    const held = parsePublicKey(Buffer.from(pair.publicKey.export({ type: 'spki', format: 'pem' })), source)
    const command = ['/bin/sh', '-c', printing(sign('sha384', PAYLOAD, pair.privateKey))]
    const { bundleJson } = await signBytes(PAYLOAD, await openSignCommand({ command, publicKey: held }))
    expect(bundleJson.toString()).toContain('"algorithm":"SHA2_384"')
    expect(verifySignature({ payload: PAYLOAD, signature: { bundleJson }, keys: [held] }).ok).toBe(true)
  })
})
