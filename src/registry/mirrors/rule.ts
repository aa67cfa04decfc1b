import type { Scope } from './scope.ts'

/** How a host has to be spoken to, where a file says so. */
export interface HostAccess {
  /** `either` is TLS with any certificate where the host speaks TLS, and else plain HTTP. */
  scheme?: 'http' | 'https' | 'either' | undefined
  /** TLS, whatever the certificate. */
  skipVerify?: boolean | undefined
  /** PEM files of authorities to trust for this host besides the usual ones. */
  ca?: readonly string[] | undefined
  /** PEM files of a client certificate and its key. */
  client?: { cert: string; key: string } | undefined
}

/** Where the images of a rule can be read besides, or instead of, the registry that their names say. */
export interface Place {
  /** `HOST[:PORT]` that is contacted. */
  registry: string
  /** The path at which the rule's images are there; empty for none. */
  path: string
  /** The place as it was configured, for people. */
  text: string
  /** Serves manifests and blobs by digest. */
  pulls: boolean
  /** May turn a tag into a digest, where mirrors may do so at all. */
  resolves: boolean
  /** Only for images that are named by a tag. */
  tagOnly?: boolean | undefined
  /** The root of the registry's API where that is not `/v2`, without a slash at the end. */
  apiRoot?: string | undefined
  /** Wants to be told by `?ns=` which registry is meant. */
  wantsNamespace?: boolean | undefined
  access?: HostAccess | undefined
}

/** What is configured for some images. */
export interface Rule {
  scope: Scope
  /** In the order to try. */
  mirrors: readonly Place[]
  /**
   * Where the registry itself is read: at its own place; at another, which is then one more mirror and the last;
   * nowhere.
   */
  source: 'own' | 'nowhere' | Place
  /** How the registry itself is spoken to. */
  ownAccess?: HostAccess | undefined
  /** Images in this scope must not be read at all. */
  isBlocked?: boolean | undefined
  /** Where this is configured, for people: a flag or a file. */
  origin: string
}

/** Rules that belong together: of one or more flags, of one file, or of one folder. */
export interface RuleSet {
  /** Which of several rules for one image count: all, the more specific ones first, or only the most specific one. */
  counts: 'all' | 'most specific'
  rules: readonly Rule[]
}
