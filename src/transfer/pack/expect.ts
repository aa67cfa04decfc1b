import { AirgapError } from '../../errors.ts'
import type { Reference } from '../../oci/reference.ts'
import type { RegistryClient } from '../../registry/client.ts'
import { sourcesFor, type Mirror } from '../../registry/mirrors.ts'

/** Tells the client which repositories these references will be read from, so that it asks for tokens together. */
export function expectSources(
  client: RegistryClient,
  references: readonly Pick<Reference, 'registry' | 'repository'>[],
  mirrors: readonly Mirror[] = [],
): void {
  for (const reference of references) {
    try {
      const sources = sourcesFor(client, reference, mirrors)
      for (const { registry, repository } of [...sources.mirrors, sources.source]) {
        client.expect(registry, [repository], 'pull')
      }
    } catch (error) {
      // Told where this reference's turn comes, with its name.
      if (!(error instanceof AirgapError)) throw error
    }
  }
}
