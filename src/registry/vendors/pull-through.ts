/**
 * Hosts of registries that can be caches of others, and then list only the tags that were pulled through them: a tag that
 * is not in the list can still be there. Amazon ECR (pull through cache), Google Artifact Registry (remote repositories),
 * Azure Container Registry (artifact cache).
 */
const CACHES = [
  /\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|on\.aws)$/,
  /\.pkg\.dev$/,
  /\.azurecr\.(?:io|cn|us)$/,
]

/** Whether a registry's list of tags can lack tags that a request would find. */
export function listsOnlyPulledTags(registry: string): boolean {
  const host = registry.toLowerCase().replace(/:\d+$/, '')
  return CACHES.some((pattern) => pattern.test(host))
}
