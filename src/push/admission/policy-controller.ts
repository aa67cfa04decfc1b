import { formatTarget } from '../../oci/reference.ts'
import { pemOf, refuseIpv6, type PolicyFile, type PolicyInputs } from './policy.ts'
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
      images: targets.map((target) => ({ glob: `${formatTarget(target)}/**` })),
      authorities: keys.map((key, i) => ({
        name: `airgap-${i}`,
        key: { data: pemOf(key), hashAlgorithm: 'sha256' },
      })),
    },
  }
  const text = commentedYaml(document, HEAD, [
    [['spec', 'mode'], 'Refuse, not only warn.'],
    [['spec', 'images'], '** stands for any characters, including /; * for any except /.'],
    [
      ['spec', 'authorities'],
      'A signature by one of these keys is enough. Without a ctlog, no transparency log is used: there is none here, and a key needs none.',
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
  'It checks only namespaces with this label: kubectl label namespace NAME policy.sigstore.dev/include=true',
  'In these, images that no policy matches are refused, unless the ConfigMap config-policy-controller sets no-match-policy to something else than deny.',
  'It does not check which image a tag means: a signed image passes under any name. The nodes can check names, too (the policy of containers/image).',
]
