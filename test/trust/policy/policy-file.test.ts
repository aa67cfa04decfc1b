import { createPublicKey, ECDH, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toJsonSchema } from '@valibot/to-json-schema'
import { Ajv } from 'ajv'
import fc from 'fast-check'
import { parse } from 'yaml'
import { beforeAll, describe, expect, it } from 'vitest'
import { AirgapError } from '../../../src/errors.ts'
import type { Fault } from '../../../src/files/yaml-document.ts'
import { overlapFaults, parsePolicy, readPolicy } from '../../../src/trust/policy/read.ts'
import { PolicySchema } from '../../../src/trust/policy/schema.ts'
import type { ReadCredential } from '../../../src/trust/policy/signers.ts'
import { makeSigstore } from '../sigstore.ts'
import { HEAD, pair, policyFolder, policyOf } from './policies.ts'

const alice = pair()
const bob = pair()

/** What is wrong with a policy, each line with its place. */
async function mistakes(text: string | Uint8Array, path = 'p'): Promise<string[]> {
  try {
    await parsePolicy(Buffer.from(text), path)
  } catch (error) {
    expect(error).toBeInstanceOf(AirgapError)
    const { code, message, problems } = error as AirgapError
    expect(code).toBe('INVALID_POLICY')
    return problems.length === 0
      ? [message.replace('the policy cannot be used: ', '')]
      : problems.map((problem) => `${problem.entry}: ${problem.message}`)
  }
  throw new Error('it was taken')
}

const pem = (one: { pem: string }): string => JSON.stringify(one.pem)
/** A policy of two people, and what else. */
const with2 = (rest = '', first = ''): string =>
  `${HEAD}signers:\n  alice: { keys: [{ pem: ${pem(alice)}${first} }] }\n  bob: { keys: [{ pem: ${pem(bob)} }] }\n${rest}`

describe('what is in a policy', () => {
  it('keys inline and beside the file, identities, groups, rules, limits, expectations', async () => {
    const { trustedRoot } = await makeSigstore()
    const folder = await policyFolder({
      'alice.pub': alice.pem,
      'root.json': trustedRoot,
      'policy.yaml': `${HEAD}
trustedRoot: root.json
signers:
  alice:
    keys: [alice.pub]
    notBefore: 2026-01-01
  bob:
    keys:
      - pem: |
${bob.pem.trimEnd().replaceAll(/^/gm, '          ')}
        notAfter: 2026-12-31
        revoked: { date: 2026-05-01, reason: laptop lost }
  ci:
    identities:
      - { identityRegexp: 'https://ci\\.example/.+', issuer: https://issuer.example }
groups:
  people: [alice, bob]
require:
  - 1 of people
  - 2 of [ci, people]
bundle: { name: [k8s, apps], minSequence: 7, maxAge: 30d, requireExpiry: true }
images: { sources: ['registry.k8s.io/*'], platforms: [linux/aarch64], allowSkipped: false }
`,
    })
    const policy = await readPolicy(join(folder, 'policy.yaml'))
    expect(policy.digest).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(policy.trustedRoot?.source).toBe(join(folder, 'root.json'))
    expect(policy.signers.map(({ name, credentials }) => [name, credentials.length])).toEqual([
      ['alice', 1],
      ['bob', 1],
      ['ci', 1],
    ])
    expect(policy.signers[0]?.credentials[0]).toMatchObject({
      kind: 'key',
      key: { fingerprint: alice.publicKey.fingerprint, source: join(folder, 'alice.pub') },
      notBefore: Date.parse('2026-01-01T00:00:00Z'),
    })
    expect(policy.signers[1]?.credentials[0]).toMatchObject({
      notAfter: Date.parse('2026-12-31T23:59:59Z'),
      revoked: { what: 'key', date: '2026-05-01', reason: 'laptop lost' },
    })
    expect(policy.require).toEqual([
      { text: '1 of people', count: 1, members: ['alice', 'bob'] },
      { text: '2 of [ci, people]', count: 2, members: ['ci', 'alice', 'bob'] },
    ])
    expect(policy.bundle).toMatchObject({
      names: ['k8s', 'apps'],
      maxAge: { milliseconds: 30 * 24 * 3_600_000, text: '30d' },
      platforms: ['linux/arm64'],
      allowSkipped: false,
    })
  })

  it('without rules any one signer is enough', async () => {
    const policy = await parsePolicy(Buffer.from(with2()), 'p')
    expect(policy.require).toEqual([{ text: 'any one signer', count: 1, members: ['alice', 'bob'] }])
  })

  it.each([
    ['alice', 1, ['alice']],
    ['all of [alice, bob]', 2, ['alice', 'bob']],
    ['all of both', 2, ['alice', 'bob']],
    ['2  of  [ alice ,bob ]', 2, ['alice', 'bob']],
    ['any of [alice, both]', 1, ['alice', 'bob']],
  ])('the rule %s', async (text, count, members) => {
    const policy = await parsePolicy(
      Buffer.from(with2(`groups: { both: [alice, bob] }\nrequire: "${text}"\n`)),
      'p',
    )
    expect(policy.require).toEqual([{ text, count, members }])
  })

  it('the narrower limits count, and the signer’s own are for all of its keys', async () => {
    const policy = await policyOf({
      signers: {
        alice: {
          keys: [
            { pem: alice.pem, notAfter: '2027-01-01' },
            { pem: bob.pem, notBefore: '2026-06-01T12:00:00Z' },
          ],
          notBefore: '2026-03-01',
          notAfter: '2026-12-31',
          revoked: false,
        },
      },
    })
    expect(policy.signers[0]?.credentials).toMatchObject([
      { notBefore: Date.parse('2026-03-01T00:00:00Z'), notAfter: Date.parse('2026-12-31T23:59:59Z') },
      { notBefore: Date.parse('2026-06-01T12:00:00Z'), notAfter: Date.parse('2026-12-31T23:59:59Z') },
    ])
  })
})

describe('a mistake is told with its place and the way out', () => {
  const ci = (more: string): string =>
    with2().replace('  bob:', `  ci: { identities: [{ ${more} }] }\n  bob:`)
  it.each<[what: string, text: string, ...messages: string[]]>([
    ['an empty file', '', 'p:1:1: it is empty, not a policy'],
    ['comments alone', '# nothing\n', 'it is empty, not a policy'],
    ['a list', '- a\n', 'p:1:1: this is a list, not a policy'],
    ['a text', 'policy\n', 'this is the text "policy", not a policy'],
    [
      'two documents',
      `${with2()}---\na: b\n`,
      'a second document begins here, but a policy is a single document',
    ],
    ['no type', with2().replace(/^type.*\n/, ''), 'p:1:1: the policy lacks the key type'],
    [
      'another type',
      with2().replace('dev.airgap.policy', 'dev.airgap.lock'),
      'p:1:7: type must be "dev.airgap.policy", but is the text "dev.airgap.lock"',
    ],
    [
      'a later version',
      with2().replace('"1.0"', '"2.0"'),
      'formatVersion must be "1.0", but is the text "2.0"',
    ],
    [
      'a version that is a number',
      with2().replace('"1.0"', '1.0'),
      'p:2:16: formatVersion must be "1.0", but is the number 1.0; in quotes it is text: "1.0"',
    ],
    [
      'an airgap.yaml',
      'configVersion: 1\nimages: []\n',
      'p:1:1: there is no key "configVersion"; did you mean formatVersion?',
      'the policy lacks the key signers',
    ],
    ['no signers', HEAD, 'lacks the key signers'],
    [
      'nothing behind signers',
      `${HEAD}signers:\n`,
      'p:3:9: signers has no value; fill it in, or remove the key',
    ],
    ['signers in a list', `${HEAD}signers: [alice]\n`, 'signers must be a mapping, but is a list'],
    ['no signer at all', `${HEAD}signers: {}\n`, 'signers names nobody'],
    [
      'a signer with nothing',
      with2().replace('  bob:', '  eve: {}\n  bob:'),
      'p:5:8: eve has neither keys nor identities',
    ],
    [
      'an unknown key',
      with2('requires: alice\n'),
      'p:6:1: there is no key "requires"; did you mean require?',
    ],
    ['a key in another spelling', with2('Require: alice\n'), 'did you mean require?'],
    ['a key of other policies', with2('rules: alice\n'), 'there is no key "rules"; did you mean require?'],
    [
      'an unknown key within',
      with2('bundle: { maxage: 3d }\n'),
      'p:6:11: there is no key "maxage" in bundle; did you mean maxAge?',
    ],
    ['a key nobody meant', with2('zzzz: 1\n'), 'there is no key "zzzz"; the keys are type, formatVersion,'],
    ['a key twice', with2('require: alice\nrequire: bob\n'), 'p:7:1: the key "require" is given twice'],
    ['a signer twice', with2(`  alice: { keys: [a.pub] }\n`), 'p:6:3: the key "alice" is given twice'],
    [
      'a signer in two spellings',
      with2(`  ALICE: { keys: [{ pem: ${pem(pair())} }] }\n`),
      'p:6:3: ALICE and alice are two signers whose names differ only in case',
    ],
    ['a merge key', with2('<<: {}\n'), 'p:6:1: merge keys (<<) are not supported'],
    ['an anchor', with2('bundle: &a {}\n'), 'the anchor "&a" has no use here'],
    ['an alias', with2('bundle: *a\n'), 'aliases are not read here'],
    ['a tag', with2('require: !!binary aGk=\n'), 'is not known here'],
    [
      'deep nesting',
      with2(`bundle: ${'['.repeat(30)}${']'.repeat(30)}\n`),
      'it is nested deeper than 16 levels',
    ],
    ['a name for __proto__', with2(`  __proto__: { keys: [a] }\n`), '"__proto__" cannot be a name here'],
    [
      'a name for constructor',
      with2(`  constructor: { keys: [a] }\n`),
      '"constructor" cannot be a name here',
    ],
    [
      'a name with a space',
      with2(`  eve smith: { keys: [a] }\n`),
      '"eve smith" cannot be a name here: a name has letters',
    ],
    ['a number for a name', with2(`  7: { keys: [a] }\n`), 'a key must be a word, but this is the number 7'],
    ['a list for a name', with2(`  ? [a]\n  : { keys: [a] }\n`), 'a key must be a word, but this is a list'],
    ['keys as text', with2(`  eve: { keys: a.pub }\n`), 'keys must be a list, but is the text "a.pub"'],
    ['no keys', with2(`  eve: { keys: [] }\n`), 'keys is empty'],
    [
      'a key that is not there',
      with2(`  eve: { keys: [gone.pub] }\n`),
      'p:6:17: cannot read the key file gone.pub: there is no such file or folder',
    ],
    [
      'a key that is a number',
      with2(`  eve: { keys: [7] }\n`),
      'item 1 of keys must be text or a mapping, but is the number 7',
    ],
    [
      'a key twice said',
      with2(`  eve: { keys: [{ file: a, pem: b }] }\n`),
      'item 1 of keys must give its key once: as file or as pem',
    ],
    ['a key not said', with2(`  eve: { keys: [{}] }\n`), 'item 1 of keys must give its key once'],
    ['a key that is none', with2(`  eve: { keys: [{ pem: x }] }\n`), 'p (key of eve) contains no PEM key'],
    [
      'a private key',
      with2(
        `  eve: { keys: [{ pem: ${JSON.stringify(pair().privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())} }] }\n`,
      ),
      'Give the .pub file',
    ],
    ['a file that is a folder', with2(`  eve: { keys: [.] }\n`), 'that is a folder'],
    ['no identity', ci('issuer: i'), 'must name the identity once'],
    ['no issuer', ci('identity: i'), 'must name the issuer once'],
    [
      'an identity in both forms',
      ci('identity: i, identityRegexp: i, issuer: i'),
      'must name the identity once',
    ],
    ['an empty identity', ci('identity: "", issuer: i'), 'identity is empty'],
    ['a pattern that is none', ci('identityRegexp: "(", issuer: i'), 'is not a regular expression: /(/'],
    [
      'a pattern that would break out',
      ci('identityRegexp: "a)|(b", issuer: i'),
      'is not a regular expression',
    ],
    [
      'a date that does not exist',
      with2('', ', notAfter: 2026-02-30'),
      'notAfter must be a date or a moment in UTC, like 2026-06-30 or 2026-06-30T12:00:00Z, but is "2026-02-30"',
    ],
    [
      'a local time',
      with2('', ', notBefore: "2026-02-03T12:00:00+01:00"'),
      'notBefore must be a date or a moment in UTC',
    ],
    [
      'an end before the beginning',
      with2('', ', notBefore: 2026-03-01, notAfter: 2026-02-01'),
      'notAfter (2026-02-01) is before notBefore (2026-03-01)',
    ],
    [
      'revoked in words',
      with2('', ', revoked: since may'),
      'revoked must be true or false or a mapping, but is the text "since may"',
    ],
    [
      'revoked with another key',
      with2('', ', revoked: { since: 2026-01-01 }'),
      'there is no key "since" in revoked',
    ],
    ['revoked with nothing behind it', with2('', ', revoked: '), 'revoked has no value'],
    [
      'one key under two names',
      with2(`  eve: { keys: [{ pem: ${pem(alice)} }] }\n`),
      'p:6:17: eve has the key of alice',
      'one key would count as two people',
    ],
    [
      'one key twice',
      with2(`  eve: { keys: [{ pem: ${pem(alice)} }, { pem: ${pem(alice)} }] }\n`).replace(
        / {2}alice.*\n/,
        '',
      ),
      'eve has the key',
      'twice',
    ],
    [
      'one identity under two names',
      ci('identity: i, issuer: i').replace(
        '  bob:',
        '  eve: { identities: [{ identity: i, issuer: i }] }\n  bob:',
      ),
      'eve and ci both have the identity i (issuer i)',
    ],
    [
      'an identity that another’s pattern fits',
      ci('identityRegexp: ".*@example", issuer: i').replace(
        '  bob:',
        '  eve: { identities: [{ identity: e@example, issuer: i }] }\n  bob:',
      ),
      'eve has the identity e@example (issuer i), and ci has /.*@example/ (issuer i), which matches it too',
    ],
    [
      'a rule that cannot be read',
      with2('require: two of them\n'),
      'p:6:10: require is "two of them", but must be like 2 of [alice, bob, carol], all of operators, or a name',
    ],
    [
      'a rule that is a number',
      with2('require: [2]\n'),
      'item 1 of require must be text, but is the number 2; in quotes it is text: "2"',
    ],
    ['no rule', with2('require: []\n'), 'require is empty; remove the key'],
    ['a rule of nobody', with2('require: "1 of []"\n'), 'names nobody: [] is empty'],
    ['a rule of zero', with2('require: 0 of [alice]\n'), 'asks for 0 signers'],
    ['a rule below zero', with2('require: -1 of [alice]\n'), 'must be like'],
    [
      'a person twice in a rule',
      with2('require: 2 of [alice, alice]\n'),
      'names alice twice, but everybody counts once',
    ],
    [
      'an unknown name in a rule',
      with2('require: 2 of [alice, bobb]\n'),
      'p:6:10: there is no signer or group "bobb"; did you mean bob?',
    ],
    [
      'more than there are',
      with2('require: 3 of [alice, bob]\n'),
      '3 of [alice, bob]: requires 3, but these are only 2',
    ],
    [
      'more than a group and its members are',
      with2('groups: { g: [alice, bob] }\nrequire: 3 of [g, alice]\n'),
      'requires 3, but these are only 2',
    ],
    [
      'a rule that only the revoked could keep',
      with2('require: 2 of [alice, bob]\n', ', revoked: true'),
      '2 of [alice, bob]: can never hold, because alice is revoked',
    ],
    [
      'everybody revoked',
      with2('', ', revoked: true').replace(/ {2}bob.*\n/, ''),
      'any one signer: can never hold, because alice is revoked',
    ],
    [
      'an unknown member of a group',
      with2('groups: { g: [alicia] }\n'),
      'p:6:15: there is no signer "alicia"; did you mean alice?',
    ],
    [
      'a group in a group',
      with2('groups: { g: [alice], h: [g] }\n'),
      'g is a group, but groups can contain only signers',
    ],
    [
      'a group of a signer’s name',
      with2('groups: { bob: [alice] }\n'),
      'bob already exists: a group needs a name of its own',
    ],
    ['an empty group', with2('groups: { g: [] }\n'), 'g is empty'],
    ['a sequence below zero', with2('bundle: { minSequence: -1 }\n'), 'minSequence is negative'],
    ['half a sequence', with2('bundle: { minSequence: 1.5 }\n'), 'minSequence must be a whole number'],
    [
      'a sequence as text',
      with2('bundle: { minSequence: "7" }\n'),
      'minSequence must be a number, but is the text "7"',
    ],
    ['an age without a unit', with2('bundle: { maxAge: 30 }\n'), 'maxAge must be text, but is the number 30'],
    [
      'an age of months',
      with2('bundle: { maxAge: 3m }\n'),
      'maxAge must be hours, days or weeks, like 12h, 30d or 6w, but is "3m"',
    ],
    ['an age of nothing', with2('bundle: { maxAge: 0d }\n'), 'maxAge must be hours'],
    [
      'yes for true',
      with2('bundle: { requireExpiry: yes }\n'),
      'requireExpiry must be true or false, but is the text "yes"',
    ],
    ['a pattern with a space', with2('images: { sources: ["a b"] }\n'), 'item 1 of sources cannot be used'],
    ['no pattern', with2('images: { sources: [] }\n'), 'sources is empty; remove the key'],
    ['a platform that is none', with2('images: { platforms: [linux] }\n'), '"linux" is not a platform'],
    [
      'a root that is not there',
      with2('trustedRoot: gone.json\n'),
      'trustedRoot: cannot read the trusted root file gone.json',
    ],
    ['a root of no sense', with2('trustedRoot: /dev/null\n'), 'p:6:14: trustedRoot: '],
  ])('%s', async (_, text, ...messages) => {
    const found = (await mistakes(text)).join('\n')
    for (const message of messages) expect(found).toContain(message)
    expect(found).not.toContain('undefined')
  })

  it('[attack: one-person-twice] one key in two encodings', async () => {
    const text = JSON.stringify({
      type: 'dev.airgap.policy',
      formatVersion: '1.0',
      signers: {
        alice: { keys: [{ pem: alice.pem }] },
        bob: { keys: [{ pem: `for bob\r\n${alice.pem.replaceAll('\n', '\r\n')}` }] },
      },
    })
    expect((await mistakes(text)).join()).toContain('bob has the key of alice')

    // As a compressed point it has another DER and another fingerprint; and so has a modulus with another exponent.
    const point = alice.publicKey.keyObject.export({ type: 'spki', format: 'der' }).subarray(26)
    const compressed = ECDH.convertKey(point, 'prime256v1', undefined, undefined, 'compressed') as Buffer
    const head = Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex')
    const other = createPublicKey({ key: Buffer.concat([head, compressed]), format: 'der', type: 'spki' })
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey
    const twin = createPublicKey({ key: { ...rsa.export({ format: 'jwk' }), e: 'Aw' }, format: 'jwk' })
    const credential = (name: string, keyObject: KeyObject, fingerprint: string): ReadCredential => ({
      name,
      path: ['signers', name],
      credential: { kind: 'key', key: { keyObject, fingerprint, hint: '', kind: '', source: `${name}.pub` } },
    })
    const faults = (one: KeyObject, two: KeyObject): Fault[] =>
      overlapFaults(['a', 'b'], [credential('a', one, '1'), credential('b', two, '2')])
    expect(faults(alice.publicKey.keyObject, other)).toHaveLength(1)
    expect(faults(rsa, twin)).toHaveLength(1)
    expect(faults(alice.publicKey.keyObject, bob.publicKey.keyObject)).toEqual([])
  })

  it('all mistakes at once, in the order of the file', async () => {
    const found = await mistakes(with2('bundle: { maxAge: 1 }\nimages: { allow: 1 }\nnonsense: 1\n'))
    expect(found.map((line) => line.split(': ')[0])).toEqual(['p:6:19', 'p:7:11', 'p:8:1'])
  })

  it.each([
    [
      'too large',
      Buffer.alloc(1024 * 1024 + 1, ' '),
      'it is larger than 1048576 bytes, too large for a policy',
    ],
    ['UTF-16', Buffer.from('\uFEFFtype: x', 'utf16le'), 'it is not UTF-8 text'],
    ['with an escape', Buffer.from(`${HEAD}# \u001b[2J`), 'the character U+001B does not belong in a policy'],
  ])('%s', async (_, bytes, message) => {
    expect((await mistakes(bytes)).join()).toContain(message)
  })

  it('very many keys are refused in one pass', async () => {
    const keys = Array.from({ length: 5000 }, (_, i) => `k${i}: 1`).join('\n')
    expect(await mistakes(`${HEAD}${keys}\n`)).toHaveLength(5001)
  })

  it('nothing makes it fail in another way', async () => {
    const piece = fc.constantFrom(
      'type: dev.airgap.policy',
      'formatVersion: "1.0"',
      'signers:',
      '  alice:',
      '    keys: [a]',
      'require:',
      '  - 2 of [alice]',
      'bundle: {',
      '}',
      'images:',
      '  sources: [x]',
      '- ',
      '? ',
      ': ',
      '[',
      '  ',
      '#',
      '"',
    )
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.array(piece).map((lines) => lines.join('\n')),
          fc.string(),
        ),
        async (text) => {
          await expect(parsePolicy(Buffer.from(text), 'p')).rejects.toMatchObject({ code: 'INVALID_POLICY' })
        },
      ),
      { numRuns: 100 },
    )
  })
})

describe('the schema that editors have', () => {
  const schema = {
    title: 'Policy of airgap',
    ...toJsonSchema(PolicySchema, {
      target: 'draft-07',
      ignoreActions: ['raw_check', 'check', 'safe_integer'],
    }),
  }
  let validate: ReturnType<Ajv['compile']>
  beforeAll(() => {
    validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(schema as object)
  })

  it('docs/schemas/airgap-policy.schema.json is the schema in the code (vitest -u renews it)', async () => {
    await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(
      '../../../docs/schemas/airgap-policy.schema.json',
    )
  })

  it.each([
    [with2('require: [alice]\n'), true],
    [with2('require: 2 of [alice, bob]\nbundle: { name: x }\n'), true],
    [with2('', ', revoked: { reason: x }'), true],
    [with2('', ', revoked: maybe'), false],
    [with2('requires: x\n'), false],
    [with2('images: { sources: [] }\n'), false],
    [HEAD, false],
  ])('agrees with the command (%#)', async (text, verdict) => {
    const isTaken = await parsePolicy(Buffer.from(text), 'p').then(
      () => true,
      () => false,
    )
    expect([validate(parse(text)), isTaken]).toEqual([verdict, verdict])
  })
})

describe('the documents', () => {
  it.each(['docs/trust.md', 'docs/examples/policy.yaml'])(
    '%s shows policies that can be used',
    async (file) => {
      const text = await readFile(new URL(`../../../${file}`, import.meta.url), 'utf8')
      const blocks = file.endsWith('.md')
        ? [...text.matchAll(/```yaml\n(type: dev\.airgap\.policy\n[^]*?)```/g)].map(
            ([, block]) => block ?? '',
          )
        : [text]
      expect(blocks.length).toBeGreaterThan(0)
      const { trustedRoot } = await makeSigstore()
      for (const block of blocks) {
        const names = [...new Set([...block.matchAll(/[a-z-]+\.pub/g)].map(([name]) => name))]
        const keys = Object.fromEntries(names.map((name) => [name, pair().pem]))
        const folder = await policyFolder({ ...keys, 'trusted_root.json': trustedRoot, 'policy.yaml': block })
        await expect(readPolicy(join(folder, 'policy.yaml'))).resolves.toMatchObject({
          source: expect.any(String),
        })
      }
    },
  )
})
