import { join } from 'node:path'
import { pack, verify } from '../../../src/index.ts'
import { makeKeyUpstream, payloadOf } from '../../trust/upstream/signing.ts'
import { BY_KEY, openWorld, tagSignatures } from '../../upstream/world.ts'
import type { Case } from './case.ts'

/** Plans a bundle of an image that has a signature by somebody else, or none. */
async function planned(rule: string, isSigned: boolean): Promise<unknown> {
  const world = await openWorld()
  const { source, index } = await world.image('app')
  const { digest } = index.descriptor
  if (isSigned) tagSignatures(world, 'app', digest, makeKeyUpstream().layer(payloadOf(digest)))
  const policies = [await world.policy(rule)]
  return pack({ images: [source], key: 'unsigned', output: undefined, verifyUpstream: { policies } })
}

export const UPSTREAM_CASES: Case[] = [
  {
    name: 'an upstream that signs nothing',
    provoke: () => planned(BY_KEY, false),
    says: /app:1: its upstream's signature was not verified: there is none: neither a tag sha256-[0-9a-f]{64}\.sig, nor/,
    hints: [
      /The rule \* \(.+policy-1\.yaml:4:5\) wants one by key [0-9a-f]{64}/,
      /skip: REASON/,
      /What is not verified is never skipped/,
    ],
  },
  {
    name: 'an image that somebody else has signed',
    provoke: () => planned(BY_KEY, true),
    says: /was not verified: sha256-[0-9a-f]{64}\.sig: it was made with another key than the one required, or it was altered$/,
    hints: [/wants one by key/],
  },
  {
    name: 'an image that no rule is for',
    provoke: () => planned("  - { pattern: 'registry.k8s.io/*', skip: x }", false),
    says: /app:1: no rule of the upstream policy is for this image$/,
    hints: [/pattern '\*' and skip: REASON/],
  },
  {
    name: 'a rule about identities without a root',
    provoke: () => planned("  - { pattern: '*', identities: [{ identity: a, issuer: b }] }", false),
    says: /^the upstream policy names identities, which are checked with a trusted root, but none is given$/,
    hints: [/--trusted-root FILE/, /airgap trust-root fetch/],
  },
  {
    name: 'a policy for upstreams with a mistake',
    provoke: () => planned("  - { pattern: '*' }", false),
    says: /^the upstream policy cannot be used: .+:4:5: item 1 of rules says neither who signs/,
    hints: [/docs\/upstream\.md/],
  },
  {
    name: 'a bundle whose images are not signed as the policy inside wants it',
    provoke: async () => {
      const world = await openWorld()
      const { source } = await world.image('app')
      const output = join(world.folder, 'app.tar')
      const skipping = await world.policy("  - { pattern: '*', skip: not yet }")
      await pack({ images: [source], key: 'unsigned', output, verifyUpstream: { policies: [skipping] } })
      const policies = [await world.policy(BY_KEY)]
      return verify(output, { unauthenticated: true, upstream: { policies } })
    },
    says: /app\.tar: 1 of 1 images are not verified by their upstream's signatures$/,
    hints: [/The bundle itself is sound/],
  },
]
