import type { Storage } from '../registry/credential-storage.ts'

/** Where credentials are kept, as `--json` prints it: exactly one of the two. */
export type StoredIn = { file: string } | { helper: string }

export function storedIn({ file, helper }: Storage): StoredIn {
  return helper === undefined ? { file } : { helper }
}

export function describeStorage({ file, helper }: Storage): string {
  return helper === undefined ? file : `the credential helper docker-credential-${helper} (named in ${file})`
}
