import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { singleManifest } from '../../fixtures/images/index.ts'
import {
  AirgapError,
  planPush,
  push,
  verify,
  type PushOptions,
  type Receipt,
  type TransferEvent,
} from '../../src/index.ts'
import { startRegistry, type EmbeddedRegistry } from '../support/registry/registry.ts'
import {
  archiveOf,
  draftOf,
  entriesOf,
  newSigner,
  signer as alice,
  temporaryBundle,
  temporaryFolder,
} from '../support/build-bundle.ts'
import { policyOf } from '../trust/policy/policies.ts'
import { hintOf } from '../../src/cli/words/hints.ts'

const [alice2, bob] = [newSigner('alice2.pub'), newSigner('bob.pub')] as const
type Signer = typeof alice

let target: EmbeddedRegistry
beforeAll(async () => {
  target = await startRegistry()
  return () => target.close()
})

afterEach(() => vi.unstubAllEnvs())

/** A bundle of a sequence, by somebody. Its tool tells bundles of one sequence apart. */
async function bundle(sequence: number, key: Signer = alice, version = '1', name = 'k8s'): Promise<string> {
  const draft = await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }], {
    name,
    sequence,
    tool: { name: 'airgap', version },
  })
  return temporaryBundle(archiveOf(entriesOf(draft, key)))
}

interface Told {
  receipt: Receipt
  notes: string[]
  warnings: string[]
}

async function pushed(path: string, options: Partial<PushOptions> = {}, prefix = ''): Promise<Told> {
  const notes: string[] = []
  const warnings: string[] = []
  const onEvent = (event: TransferEvent): void => {
    if (event.type === 'warning') warnings.push(event.message)
    if (event.type === 'registry' && event.notice.type === 'note') notes.push(event.notice.message)
  }
  const trust =
    options.policy === undefined ? { keys: [alice.publicKey, alice2.publicKey, bob.publicKey] } : {}
  const receipt = await push(path, `${target.host}/${prefix || 'x'}`, {
    ...trust,
    registries: { plainHttp: [target.host] },
    stateDirectory: false,
    moveTags: true,
    ...options,
    onEvent,
  })
  return { receipt, notes, warnings }
}

async function refusal(work: Promise<unknown>): Promise<AirgapError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(AirgapError)
  return error as AirgapError
}

async function stateFile(): Promise<string> {
  return join(await temporaryFolder(), 'sequences.json')
}

interface State {
  bundles: { name: string; sequence: number; digest: string; signer: object; target: string }[]
}
const read = (file: string): State => JSON.parse(readFileSync(file, 'utf8')) as State

describe('what push remembers', () => {
  test('[attack: old-sequence] an older bundle is refused before anything is sent, and taken by --allow-rollback', async () => {
    const state = await stateFile()
    const [old, now] = [await bundle(41), await bundle(42)]
    const first = await pushed(now, { sequences: state })
    expect(first.receipt.sequenceMemory).toBe('none')
    expect(first.receipt.previousSequence).toBeUndefined()
    expect(first.notes).toEqual([
      expect.stringMatching(
        /^No earlier push of "k8s" by the key [0-9a-f]{16}… is remembered in .*sequences\.json; from now on, older bundles are refused\.$/,
      ),
    ])
    expect(read(state).bundles).toMatchObject([
      {
        name: 'k8s',
        sequence: 42,
        signer: { keyFingerprint: alice.publicKey.fingerprint },
        target: `${target.host}/x`,
      },
    ])

    const before = target.requests.length
    const error = await refusal(pushed(old, { sequences: state }, 'another-place'))
    expect(error).toMatchObject({ code: 'VERIFICATION_FAILED', exitCode: 3 })
    expect(error.problems).toHaveLength(1)
    expect(error.problems[0]?.message).toMatch(
      /^its sequence is 41, but the last accepted one of this name and signer is 42 \(pushed \d{4}-.*Z to 127\.0\.0\.1:\d+\/x, signed by the key [0-9a-f]{16}…\): it is an older bundle$/,
    )
    expect(target.requests.length).toBe(before)

    const back = await pushed(old, { sequences: state, allowRollback: true })
    expect(back.receipt).toMatchObject({
      previousSequence: 42,
      sequenceMemory: 'found',
      bundle: { sequence: 41 },
    })
    expect(back.warnings).toEqual(['sequence 41 is accepted after 42, as you allowed'])
    expect(read(state).bundles).toMatchObject([{ sequence: 41 }])
    expect((await pushed(now, { sequences: state })).receipt.previousSequence).toBe(41)
  })

  test('a new name by a signer who has pushed others there is told of, once, and only there', async () => {
    const state = await stateFile()
    const place = { sequences: state }
    expect((await pushed(await bundle(1, alice, '1', 'apps.tar'), place, 'names')).warnings).toEqual([])
    const second = await bundle(2, alice, '1', 'apps-2.tar')
    expect((await pushed(second, place, 'elsewhere')).warnings).toEqual([])
    expect((await pushed(await bundle(3, bob, '1', 'apps-3.tar'), place, 'names')).warnings).toEqual([])
    const third = await bundle(2, alice, '1', 'apps-4.tar')
    const { warnings, receipt } = await pushed(third, place, 'names')
    expect(receipt.sequenceMemory).toBe('none')
    expect(warnings).toEqual([
      expect.stringMatching(
        /^the name "apps-4\.tar" is new, but the key [0-9a-f]{16}… has pushed "apps\.tar" to 127\.0\.0\.1:\d+\/names: if this is a release of one of them, airgap could not check whether it is older\. .*the same name$/,
      ),
    ])
    expect((await pushed(third, place, 'names')).warnings).toEqual([])
  })

  test('the same bundle again is fine; another one with its sequence is not', async () => {
    const state = await stateFile()
    const one = await bundle(7)
    await pushed(one, { sequences: state })
    expect((await pushed(one, { sequences: state })).receipt).toMatchObject({ previousSequence: 7 })
    const error = await refusal(pushed(await bundle(7, alice, '2'), { sequences: state }))
    expect(error.problems[0]?.message).toMatch(
      /^its sequence is 7, but another bundle of this name and signer, sha256:[0-9a-f]{64}, has the same .*: two bundles claim one sequence/,
    )
  })

  test('another name, and another signer, are remembered by themselves', async () => {
    const state = await stateFile()
    await pushed(await bundle(9), { sequences: state })
    await pushed(await bundle(3, alice, '1', 'apps'), { sequences: state })
    await pushed(await bundle(3, bob), { sequences: state })
    const all = read(state).bundles.map(({ name, sequence }) => `${name} ${sequence}`)
    expect(all.toSorted()).toEqual(['apps 3', 'k8s 3', 'k8s 9'])
  })

  test('[attack: old-sequence] by a policy, whoever counts as the same person is one signer, with whatever key', async () => {
    const state = await stateFile()
    const pem = ({ publicKey }: Signer): object => ({
      pem: publicKey.keyObject.export({ type: 'spki', format: 'pem' }).toString(),
    })
    const policy = await policyOf({
      signers: { alice: { keys: [pem(alice), pem(alice2)] }, bob: { keys: [pem(bob)] } },
    })
    await pushed(await bundle(10), { sequences: state, policy })
    const error = await refusal(pushed(await bundle(9, alice2), { sequences: state, policy }))
    expect(error.problems[0]?.message).toContain('signed by alice)')
    await pushed(await bundle(11, alice2), { sequences: state, policy })
    // What the older key has signed is held to it, too, even where no policy says whose it is.
    expect(read(state).bundles.map(({ sequence }) => sequence)).toEqual([11, 11])
    expect((await refusal(pushed(await bundle(10), { sequences: state }))).problems[0]?.message).toContain(
      'is 11 (',
    )
    await pushed(await bundle(2, bob), { sequences: state, policy })
  })

  test('a plan reads it, and writes nothing; verify does the same', async () => {
    const state = await stateFile()
    const options = { keys: [alice.publicKey], sequences: state, registries: { plainHttp: [target.host] } }
    const plan = await planPush(await bundle(5), `${target.host}/x`, options)
    expect(plan.sequenceMemory).toBe('none')
    expect(existsSync(state)).toBe(false)
    await pushed(await bundle(6), { sequences: state })
    const bytes = readFileSync(state)
    expect((await refusal(planPush(await bundle(5), `${target.host}/x`, options))).code).toBe(
      'VERIFICATION_FAILED',
    )
    const error = await refusal(verify(await bundle(5), { keys: [alice.publicKey], sequences: state }))
    expect(error.problems[0]?.message).toContain('its sequence is 5')
    const good = await verify(await bundle(6), { keys: [alice.publicKey], sequences: state })
    expect(good.sequences).toEqual({ sequenceMemory: 'found', previousSequence: 6 })
    expect(readFileSync(state).equals(bytes)).toBe(true)
    expect(readdirSync(join(state, '..'))).toEqual(['sequences.json'])
    const missing = await refusal(
      verify(await bundle(6), { keys: [alice.publicKey], sequences: `${state}x` }),
    )
    expect(missing).toMatchObject({ code: 'FILE', message: expect.stringContaining('there is no such file') })
  })

  test('it is written before the first tag is set: a push that ends earlier leaves nothing, one that ends later does', async () => {
    const state = await stateFile()
    const path = await bundle(50)
    const calledOff = async (phase: string): Promise<void> => {
      const stop = new AbortController()
      const work = push(path, `${target.host}/${phase}`, {
        keys: [alice.publicKey],
        registries: { plainHttp: [target.host] },
        stateDirectory: false,
        sequences: state,
        signal: stop.signal,
        onEvent: (event) => {
          if (event.type === 'phase' && event.phase === phase) stop.abort()
        },
      })
      await expect(work).rejects.toThrow()
    }
    await calledOff('upload')
    expect(existsSync(state)).toBe(false)
    await calledOff('tag')
    expect(read(state).bundles).toMatchObject([{ sequence: 50 }])
    expect((await pushed(path, { sequences: state })).receipt.previousSequence).toBe(50)
  })

  test('[attack: old-sequence] of two pushes at once the older does not come last', async () => {
    const state = await stateFile()
    const [old, now] = [await bundle(60), await bundle(61)]
    const verdicts: string[] = []
    const slow = push(old, `${target.host}/race`, {
      keys: [alice.publicKey],
      registries: { plainHttp: [target.host] },
      stateDirectory: false,
      sequences: state,
      moveTags: true,
      onReport: ({ verdict }) => void verdicts.push(verdict),
      // The newer one is done by the time that this one sends anything.
      onOpened: async () => {
        await pushed(now, { sequences: state }, 'race')
      },
    })
    const error = await refusal(slow)
    expect(error).toMatchObject({
      code: 'VERIFICATION_FAILED',
      message: 'another push was faster, so no tag was set',
    })
    expect(error.problems[0]?.message).toContain('its sequence is 60')
    expect(verdicts).toEqual(['failed'])
    expect(read(state).bundles).toMatchObject([{ sequence: 61 }])
  })

  test('pushes at the same time lose nothing of each other', async () => {
    const state = await stateFile()
    const names = ['a', 'b', 'c', 'd']
    const bundles = await Promise.all(names.map(async (name) => bundle(1, alice, '1', name)))
    await Promise.all(bundles.map(async (path, i) => pushed(path, { sequences: state }, names[i])))
    expect(read(state).bundles.map(({ name }) => name)).toEqual(names)
    expect(readdirSync(join(state, '..'))).toEqual(['sequences.json'])
  })

  test('verify refuses to be given a file that it could not look into', async () => {
    const state = await stateFile()
    const error = await refusal(verify(await bundle(1), { unauthenticated: true, sequences: state }))
    expect(error).toMatchObject({ code: 'USAGE', message: expect.stringContaining('remembered by signer') })
  })

  test('without a signature, and where nobody has asked for it, nothing is remembered', async () => {
    const state = await stateFile()
    const unsigned = await pushed(await bundle(1), { sequences: state, keys: [], unauthenticated: true })
    expect(unsigned.receipt.sequenceMemory).toBe('off')
    expect(unsigned.warnings).toEqual([
      `${state} is not used: sequences are remembered by signer, but no signature was checked`,
    ])
    expect(existsSync(state)).toBe(false)
    expect((await pushed(await bundle(1))).receipt.sequenceMemory).toBe('off')
  })
})

describe('the file', () => {
  const good = (): string =>
    JSON.stringify({ type: 'dev.airgap.sequences', formatVersion: '1.0', bundles: [] })
  const record = (more: object = {}): object => ({
    name: 'k8s',
    signer: { keyFingerprint: alice.publicKey.fingerprint },
    sequence: 1,
    digest: `sha256:${'0'.repeat(64)}`,
    pushed: '2026-01-01T00:00:00.000Z',
    target: 'registry',
    ...more,
  })
  const of = (...bundles: object[]): string =>
    JSON.stringify({ type: 'dev.airgap.sequences', formatVersion: '1.0', bundles })

  test.each<[what: string, content: string]>([
    ['empty', ''],
    ['cut off', good().slice(0, 30)],
    ['of zeros', '\0'.repeat(100)],
    ['of another kind', good().replace('sequences', 'uploads')],
    ['of a later version', good().replace('1.0', '2.0')],
    ['with an unknown field', good().replace('}', ',"x":1}')],
    ['with a key twice', good().replace('}', ',"bundles":[]}')],
    ['with half a record', of({ name: 'k8s' })],
    ['with a record twice', of(record(), record())],
    [
      'with a sequence beyond 2^53',
      of(record({ sequence: 2 })).replace('"sequence":2', '"sequence":90071992547409930'),
    ],
    [
      'with a signer of both kinds',
      of(record({ signer: { keyFingerprint: 'a'.repeat(64), identity: 'a', issuer: 'b' } })),
    ],
    ['in a Git conflict', `<<<<<<< HEAD\n${good()}\n=======\n${good()}\n>>>>>>> x\n`],
  ])('%s is an error with a way out, not a new beginning', async (_, content) => {
    const state = await stateFile()
    writeFileSync(state, content)
    const before = target.requests.length
    const error = await refusal(pushed(await bundle(1), { sequences: state }))
    expect(error).toMatchObject({ code: 'FILE', exitCode: 7 })
    expect(error.message).toContain(`${state}, which remembers the sequences of bundles, is damaged: `)
    expect(hintOf(error)).toContain('Restore it from a backup')
    expect(target.requests.length).toBe(before)
    expect(readFileSync(state, 'utf8')).toBe(content)
  })

  test('is 0600 in a folder of 0700 in the state folder of the user, unless another is named', async () => {
    const home = await temporaryFolder()
    vi.stubEnv('XDG_STATE_HOME', join(home, 'state'))
    await pushed(await bundle(1), { sequences: true })
    const folder = join(home, 'state', 'airgap')
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(statSync(join(folder, 'sequences.json')).mode & 0o777).toBe(0o600)
    expect((await pushed(await bundle(1), { sequences: true })).receipt.sequenceMemory).toBe('found')
  })

  test('[duty: local-state] is not read or written through a link, nor where others could have written', async () => {
    const state = await stateFile()
    const elsewhere = `${state}.real`
    writeFileSync(elsewhere, good())
    symlinkSync(elsewhere, state)
    expect(await refusal(pushed(await bundle(1), { sequences: state }))).toMatchObject({
      code: 'OUTPUT_UNSAFE',
      message: expect.stringContaining('it is a symbolic link'),
    })
    expect(readFileSync(elsewhere, 'utf8')).toBe(good())

    const named = await stateFile()
    for (const mode of [0o666, 0o620, 0o602]) {
      writeFileSync(named, good())
      chmodSync(named, mode)
      for (const work of [
        pushed(await bundle(1), { sequences: named }),
        verify(await bundle(1), { keys: [alice.publicKey], sequences: named }),
      ]) {
        expect(await refusal(work)).toMatchObject({
          code: 'OUTPUT_UNSAFE',
          message: expect.stringContaining(`other users can write to it (mode 0${mode.toString(8)})`),
          hint: expect.stringContaining('with mode 0600'),
        })
      }
      expect(readFileSync(named, 'utf8')).toBe(good())
    }
    chmodSync(named, 0o600)
    linkSync(named, `${named}.other`)
    expect(await refusal(pushed(await bundle(1), { sequences: named }))).toMatchObject({
      code: 'OUTPUT_UNSAFE',
      message: expect.stringContaining('it has another name'),
    })

    const home = await temporaryFolder()
    vi.stubEnv('XDG_STATE_HOME', home)
    mkdirSync(join(home, 'airgap'), { mode: 0o700 })
    const own = join(home, 'airgap', 'sequences.json')
    writeFileSync(own, good())
    chmodSync(own, 0o666)
    expect(await refusal(pushed(await bundle(1), { sequences: true }))).toMatchObject({
      code: 'OUTPUT_UNSAFE',
      message: expect.stringContaining('other users can write to it'),
    })
    chmodSync(own, 0o600)
    chmodSync(join(home, 'airgap'), 0o777)
    expect(await refusal(pushed(await bundle(1), { sequences: true }))).toMatchObject({
      code: 'OUTPUT_UNSAFE',
      message: expect.stringContaining('is not a folder that only you can write to'),
    })
  })

  test.runIf(process.getuid?.() === 0)(
    '[duty: local-state] of another user is refused, also where it was named',
    async () => {
      const state = await stateFile()
      writeFileSync(state, good(), { mode: 0o600 })
      chownSync(state, 1, 1)
      expect(await refusal(pushed(await bundle(1), { sequences: state }))).toMatchObject({
        code: 'OUTPUT_UNSAFE',
        message: expect.stringContaining('it belongs to user 1, but this runs as user 0'),
      })
    },
  )

  test('[duty: local-state] does not inherit the mode of what was there', async () => {
    const state = await stateFile()
    writeFileSync(state, good())
    chmodSync(state, 0o755)
    await pushed(await bundle(1), { sequences: state })
    expect(statSync(state).mode & 0o777).toBe(0o600)
  })

  test('that was named has to be one that can be written, before anything is sent', async () => {
    const before = target.requests.length
    const file = join(await temporaryFolder(), 'missing', 'sequences.json')
    expect(await refusal(pushed(await bundle(1), { sequences: file }))).toMatchObject({ code: 'FILE' })
    expect(await refusal(pushed(await bundle(1), { sequences: '/dev/null' }))).toMatchObject({
      code: 'OUTPUT_UNSAFE',
      message: expect.stringContaining('it is not a regular file'),
    })
    expect(target.requests.length).toBe(before)
  })

  test('without a home nothing is remembered, and that is said', async () => {
    vi.stubEnv('XDG_STATE_HOME', '')
    vi.stubEnv('HOME', '/nonexistent')
    const { receipt, notes } = await pushed(await bundle(1), { sequences: true })
    expect(receipt.sequenceMemory).toBe('off')
    expect(notes).toEqual([expect.stringContaining('there is no home folder')])
  })
})

test('a clock that is earlier than the bundle is told by verify and push, with both times', async () => {
  const draft = await draftOf([{ source: 'example.test/app:1.0', built: await singleManifest() }], {
    created: '2199-01-01T00:00:00Z',
  })
  const path = await temporaryBundle(archiveOf(entriesOf(draft)))
  const { warnings, receipt } = await pushed(path)
  expect(warnings).toEqual([
    expect.stringMatching(
      /bundle\.tar: this machine's clock says \d{4}-.*Z, but the bundle says it was created 2199-01-01T00:00:00Z: /,
    ),
  ])
  expect(receipt.clock).toMatchObject({ created: '2199-01-01T00:00:00Z' })
  expect((await verify(path, { keys: [alice.publicKey] })).clock).toBeDefined()
})
