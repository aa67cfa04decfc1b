import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AMD64, image, seedRegistry } from '../../fixtures/images/index.ts'
import { pack, push, resolve } from '../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import { airgap, residentAirgap, scratch, type Outcome } from '../support/airgap.ts'
import { basicEntry } from '../support/client.ts'
import { expectNoSecrets, leaksIn } from '../support/secrets/known.ts'

const USER = 'robot$ci'
const PASSWORD = 'gr3en "tea" & milk/ö'

/** A URL that says more than where something is. */
const TELLING_URL = /\b[a-z][a-z0-9+.-]*:\/\/[^\s"']*[?@#]/i

describe('[duty: no-secrets] pack and push, with every kind of output', () => {
  let folder: Awaited<ReturnType<typeof scratch>>
  const servers: EmbeddedRegistry[] = []
  let source: EmbeddedRegistry
  let target: EmbeddedRegistry
  let env: Record<string, string>

  beforeAll(async () => {
    folder = await scratch()
    const users = { [USER]: PASSWORD }
    const storage = await startRegistry({ quirks: ['truncate-once'] })
    // What registries and clouds put into URLs: a user part, a signature, a state.
    source = await startRegistry({
      store: storage.store,
      auth: { bearer: { users } },
      quirks: ['redirect-blobs'],
      redirectTo: storage.url.replace('//', '//edge:s1gning@'),
    })
    target = await startRegistry({ auth: { basic: users }, quirks: ['location-with-query'] })
    servers.push(storage, source, target)
    const built = await image('app', AMD64)
    seedRegistry(storage.store, 'app:1', built)
    await mkdir(folder.file('docker'))
    const auths = { [source.host]: basicEntry(USER, PASSWORD), [target.host]: basicEntry(USER, PASSWORD) }
    await writeFile(folder.file('docker/config.json'), JSON.stringify({ auths }))
    env = { DOCKER_CONFIG: folder.file('docker') }
  })

  afterAll(async () => {
    for (const server of servers) await server.close()
    await folder[Symbol.asyncDispose]()
  })

  async function run(args: string[], more: Record<string, string> = {}): Promise<Outcome> {
    // Whether to debug is asked when a process begins.
    const start = more.DEBUG === undefined ? residentAirgap : airgap
    const outcome = await start(args, { cwd: folder.path, env: { ...env, ...more } })
    expect([outcome.code, outcome.stdout]).toEqual([0, outcome.stdout])
    for (const text of [outcome.stdout, outcome.stderr]) expect(text).not.toMatch(TELLING_URL)
    return outcome
  }

  test('neither log, nor documents, nor files, nor the bundle show one', async () => {
    const app = `${source.host}/app:1`
    const packed = await Promise.all([
      run(['resolve', app, '-o', 'app.lock', '--json', '--log-format', 'json']),
      run(['pack', app, '--no-sign', '-o', 'one.tar', '--json', '--log-format', 'json']),
      run(['pack', app, '--no-sign', '-o', 'two.tar'], { DEBUG: '*' }),
    ])
    const push = ['push', 'one.tar', '--allow-unsigned']
    const pushed = await Promise.all([
      run([...push, `${target.host}/a`, '--json', '--log-format', 'json']),
      run([...push, `${target.host}/b`, '--verify-target', '--receipt', 'b.json'], { DEBUG: '*' }),
    ])
    // The run did meet what must not show.
    expect(servers[0]!.requests.length).toBeGreaterThan(0)
    expect([...packed, ...pushed].map(({ stderr }) => stderr).join('')).toContain('Retrying')
    expect(leaksIn(`x ${PASSWORD}`)).not.toEqual([])
    const names = (await readdir(folder.path)).filter((name) => name !== 'docker')
    expect(names.length).toBeGreaterThanOrEqual(5)
    for (const name of names) {
      const text = await readFile(folder.file(name), 'latin1')
      expectNoSecrets(text, name)
      expect(text).not.toMatch(TELLING_URL)
    }
  })

  test('no event, plan, lock or receipt of the library does', async () => {
    const output = folder.file('library.tar')
    const registries = { authFile: folder.file('docker/config.json') }
    const told: unknown[] = []
    const onEvent = (event: unknown): number => told.push(event)
    const images = [`${source.host}/app:1`]
    told.push(await resolve({ images, registries, onEvent }))
    told.push(await pack({ images, output, key: 'unsigned', registries, onEvent }))
    const receipt = await push(output, `${target.host}/c`, {
      unauthenticated: true,
      registries,
      onEvent,
    })
    told.push(receipt)
    const text = JSON.stringify(told)
    expect(text).toContain('"uploaded"')
    expectNoSecrets(text, 'what the library tells')
    expect(text).not.toMatch(TELLING_URL)
  })
})
