import type { Digest } from '../../oci/digest.ts'
import { inParallel } from '../../content/parallel.ts'
import type { DescribedSignatures } from '../planned-push.ts'
import { signatureKey, signedReference, type ImageSigning } from './plan.ts'
import { signatureFields, signaturesOf, signingFields } from './record.ts'
import { presentSignatures } from './sign.ts'
import type { PushPlan } from '../planned.ts'

interface DescribeOptions {
  concurrency?: number | undefined
  signal?: AbortSignal | undefined
}

/**
 * Asks the target which signatures are there. Content that it does not have yet has none.
 * @throws AirgapError `REGISTRY` if a cosign tag is something else, and the errors of any request.
 */
export async function describeSignatures(
  plan: PushPlan,
  signing: ImageSigning | undefined,
  options: DescribeOptions,
): Promise<DescribedSignatures> {
  if (!signing) return { summary: {}, of: () => ({}) }
  const present = presentIn(plan)
  const { formats, key } = signing
  const hasSourceIndexes = plan.sourceIndexes.length > 0
  const states = new Map<string, 'present' | 'to-sign'>()
  const all = plan.images.flatMap((planned) =>
    signaturesOf(planned, formats, hasSourceIndexes).map((signature) => ({ planned, signature })),
  )
  await inParallel(all, options, async ({ planned, signature }, signal) => {
    const { repository, document, format } = signature
    const reference = signedReference(planned)
    const isThere =
      present(repository.name, document.digest) &&
      (await presentSignatures({ ...signature, references: [reference] }, key.publicKey, signal)).has(
        reference,
      )
    const id = signatureKey(repository, document.digest, format, reference)
    states.set(id, isThere ? 'present' : 'to-sign')
  })
  return {
    summary: { imageSigning: signingFields(signing) },
    of: (planned) => ({
      imageSignatures: signaturesOf(planned, formats, hasSourceIndexes).map(
        ({ repository, document: { digest }, format }) => {
          const reference = signedReference(planned)
          const state = states.get(signatureKey(repository, digest, format, reference)) ?? 'to-sign'
          return Object.assign(signatureFields(digest, format, reference, key.publicKey.fingerprint), {
            state,
          })
        },
      ),
    }),
  }
}

function presentIn({ manifests, sourceIndexes }: PushPlan): (name: string, digest: Digest) => boolean {
  const there = new Set<string>()
  for (const { repository, document, isPresent } of manifests) {
    if (isPresent) there.add(`${repository.name} ${document.digest}`)
  }
  for (const { repository, digest, isPresent } of sourceIndexes) {
    if (isPresent) there.add(`${repository.name} ${digest}`)
  }
  return (name, digest) => there.has(`${name} ${digest}`)
}
