import { pemOf, prefixOf, refuseIpv6, type PolicyFile, type PolicyInputs } from './policy.ts'
import { commentedYaml } from './yaml.ts'

/** The ClusterImagePolicy of Sigstore's policy-controller (policy.sigstore.dev/v1beta1). */
export function policyControllerPolicy({ targets, keys }: PolicyInputs): PolicyFile {
  refuseIpv6(targets, 'policy-controller')
  const document = {
    apiVersion: 'policy.sigstore.dev/v1beta1',
    kind: 'ClusterImagePolicy',
    metadata: { name: 'airgap-signed-images' },
    spec: {
      mode: 'enforce',
      images: targets.map((target) => ({ glob: `${prefixOf(target)}/**` })),
      authorities: keys.map((key, i) => ({
        name: `airgap-${i}`,
        key: { data: pemOf(key), hashAlgorithm: 'sha256' },
      })),
    },
  }
  const text = commentedYaml(document, HEAD, [
    [['spec', 'mode'], 'Refuse, not only warn.'],
    [['spec', 'images'], '** stands for any characters, / included; * for any but /.'],
    [
      ['spec', 'authorities'],
      'A signature by one of these keys suffices. No ctlog is named, so no transparency log is asked: there is none in here, and a key needs none.',
    ],
  ])
  return {
    name: 'policy-controller.yaml',
    about: 'policy-controller: kubectl apply -f policy-controller.yaml',
    text,
    documents: [document],
  }
}

const HEAD = [
  "Sigstore's policy-controller: images of the private registry run only with a signature by the key that a push signs images with. It resolves tags to the digests that it has checked.",
  'It looks at namespaces that ask for it alone: kubectl label namespace NAME policy.sigstore.dev/include=true',
  'In these, images that no policy matches are refused, unless the ConfigMap config-policy-controller sets no-match-policy to something else than deny.',
  'It does not say which image is meant by a tag: a signed image passes under any name. The nodes can be held to names, too (the policy of containers-image).',
]
