import { formatTarget } from '../../oci/reference.ts'
import type { PublicKey } from '../../trust/keys.ts'
import { pemOf, refuseIpv6, type PolicyFile, type PolicyInputs } from './policy.ts'
import { commentedYaml } from './yaml.ts'

const API = 'kyverno.io/v1'
const PODS = { any: [{ resources: { kinds: ['Pod'] } }] }
const SIGNED = 'airgap-signed-images'
const REFERENCES = 'airgap-image-references'

/** Kyverno's policies: one for signatures, one for how workloads name images. */
export function kyvernoPolicies({ targets, keys }: PolicyInputs): PolicyFile {
  refuseIpv6(targets, 'Kyverno')
  const patterns = targets.map((target) => `${formatTarget(target)}/*`)
  const signed = signedImages(patterns, keys)
  const references = imageReferences(patterns)
  const text = [
    commentedYaml(signed, SIGNED_HEAD, [
      [
        ['spec', 'validationFailureAction'],
        'Refuse, not only report. Given twice, because Kyverno moves this setting from the policy to its rules.',
      ],
      [['spec', 'failurePolicy'], 'Admit nothing while Kyverno is not available.'],
      [
        ['spec', 'rules', 0, 'verifyImages', 0, 'imageReferences'],
        '* stands for any characters, including /.',
      ],
      [
        ['spec', 'rules', 0, 'verifyImages', 0, 'mutateDigest'],
        'Replace tags by the digests that were checked.',
      ],
      [['spec', 'rules', 0, 'verifyImages', 0, 'attestors'], 'A signature by one of these keys is enough.'],
      [
        ['spec', 'rules', 0, 'verifyImages', 0, 'attestors', 0, 'entries', 0, 'keys', 'rekor'],
        'No transparency log and no certificate log: there are none here, and a key needs none.',
      ],
    ]),
    commentedYaml(references, REFERENCES_HEAD, [
      [['spec', 'rules', 0], 'Images of any other registry are refused, signed or not.'],
      [
        ['spec', 'rules', 1],
        'A moving tag says nothing about the image; an image without a tag means :latest.',
      ],
      [['spec', 'rules', 3], 'Only a digest is what was checked; the policy above adds it.'],
    ]),
  ].join('---\n')
  return {
    name: 'kyverno.yaml',
    about: 'Kyverno: kubectl apply -f kyverno.yaml',
    text,
    documents: [signed, references],
  }
}

const SIGNED_HEAD = [
  'Kyverno: images of the private registry run only with a signature by the key that a push signs images with.',
  'It does not check which image a tag means: a signed image passes under any name. The nodes can check names, too (the policy of containers/image).',
]

const REFERENCES_HEAD = ['Kyverno: images have to come from the private registry, and be named by digest.']

function signedImages(imageReferences: string[], keys: readonly PublicKey[]): Record<string, unknown> {
  const entries = keys.map((key) => ({
    keys: {
      publicKeys: pemOf(key),
      rekor: { ignoreTlog: true },
      ctlog: { ignoreSCT: true },
    },
  }))
  return {
    apiVersion: API,
    kind: 'ClusterPolicy',
    metadata: { name: SIGNED },
    spec: {
      validationFailureAction: 'Enforce',
      background: false,
      failurePolicy: 'Fail',
      rules: [
        {
          name: 'signature',
          match: PODS,
          verifyImages: [
            {
              type: 'Cosign',
              failureAction: 'Enforce',
              imageReferences,
              mutateDigest: true,
              verifyDigest: true,
              required: true,
              attestors: [{ count: 1, entries }],
            },
          ],
        },
      ],
    },
  }
}

function imageReferences(patterns: readonly string[]): Record<string, unknown> {
  return {
    apiVersion: API,
    kind: 'ClusterPolicy',
    metadata: { name: REFERENCES },
    spec: {
      validationFailureAction: 'Enforce',
      background: true,
      failurePolicy: 'Fail',
      rules: [
        rule('registry', `Images have to come from ${patterns.join(' or ')}.`, patterns.join(' | ')),
        rule('tag', 'The tag :latest, or no tag, is not accepted.', '!*:latest'),
        rule('tag-with-digest', 'The tag :latest is not accepted, not even with a digest.', '!*:latest@*'),
        rule('digest', 'Images have to be named by digest (@sha256:…).', '*@sha256:*'),
      ],
    },
  }
}

/** A rule that every image of a pod has to match. `=(…)` applies only if there are such containers. */
function rule(name: string, message: string, image: string): Record<string, unknown> {
  const images = [{ image }]
  return {
    name,
    match: PODS,
    validate: {
      failureAction: 'Enforce',
      message,
      pattern: {
        spec: { '=(initContainers)': images, '=(ephemeralContainers)': images, containers: images },
      },
    },
  }
}
