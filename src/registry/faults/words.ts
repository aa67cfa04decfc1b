/** Causes and ways out that several places name. */

/** Many registries say so of a repository that is not there, too; `transfer/pack/near-tags.ts` finds out. */
export const NO_SUCH_TAG = 'the registry has no such tag or digest'
export const NO_SUCH_REPOSITORY = 'the registry has no repository of this name'

export const NO_REGISTRY =
  'Look at host and port: a web interface often has another name or port than the registry.'

export const CAPTIVE_PAGE =
  'A login page, proxy or firewall stands in front of it, or the host is not a registry: `curl -i https://HOST/v2/` shows who answers. A registry answers {} or a 401 there.'

export const REDIRECT_LOOP =
  'Registry and proxy send each other in a circle, often because the proxy ends TLS and the registry does not know it: have it send X-Forwarded-Proto.'

export const LOST_SCHEME =
  'A proxy in front of the registry probably hides that it was spoken to over HTTPS: have it send X-Forwarded-Proto, or set http.relativeurls in docker-registry. If the other host is meant to speak plain HTTP, allow that with --plain-http HOST.'

export const LARGE_MANIFEST =
  'No registry is known to take that much. Look whether the name is that of an image.'

/** @param host where the bytes came from. */
export function damagedHint(host: string): string {
  return `Run the same command again. If it comes back, the blob is damaged at ${host}, or a proxy or virus scanner on the way changes it: take the image from another place (--mirror), or have it pushed there again.`
}

export const TOKEN_SERVICE =
  "The registry sends clients to a service for tokens, which has to answer with one: look at the registry's setting of its address (realm), and at what stands in front of it."
