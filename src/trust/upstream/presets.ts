import { parsePattern } from '../../oci/pattern.ts'
import { identityFrom } from '../identity/identity.ts'
import type { UpstreamRule } from './rule.ts'

/** Rules for upstreams that many people have, by the name that stands for a file. */
const PRESETS = {
  // kubernetes.io, "Verify Signed Kubernetes Artifacts". Names are not compared: promoted images are signed under those
  // of the registries behind registry.k8s.io, and some of its own under other paths.
  kubernetes: {
    pattern: 'registry.k8s.io/*',
    identity: 'krel-trust@k8s-releng-prod.iam.gserviceaccount.com',
    issuer: 'https://accounts.google.com',
  },
} as const

export type PresetName = keyof typeof PRESETS

export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[]

export function isPreset(name: string): name is PresetName {
  return Object.hasOwn(PRESETS, name)
}

/** The rules that a preset stands for. */
export function presetRules(name: PresetName): UpstreamRule[] {
  const { pattern, identity, issuer } = PRESETS[name]
  return [
    {
      pattern,
      preset: name,
      place: `preset ${name}`,
      matches: parsePattern(pattern),
      demand: {
        kind: 'signature',
        by: { keys: [], identities: [identityFrom({ identity, issuer })] },
        onFailure: 'fail',
        dockerReference: 'ignore',
      },
    },
  ]
}
