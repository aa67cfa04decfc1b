import { AirgapError } from '../errors.ts'
import type { Reference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { Mirrors } from '../registry/mirrors/mirrors.ts'
import { sourcesFor } from '../registry/mirrors/sources.ts'

/** Tells the client which repositories these references will be read from, so that it asks for tokens together. */
export function expectSources(
  client: RegistryClient,
  references: readonly Reference[],
  mirrors?: Mirrors,
): void {
  for (const reference of references) {
    try {
      for (const { registry, repository } of sourcesFor(client, reference, mirrors).all) {
        client.expect(registry, [repository], 'pull')
      }
    } catch (error) {
      // Told where this reference's turn comes, with its name.
      if (!(error instanceof AirgapError)) throw error
    }
  }
}
