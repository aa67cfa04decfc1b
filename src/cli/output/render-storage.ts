import type { Storage } from '../../registry/auth/credential-storage.ts'
import type { StoredIn } from './shapes/login.ts'

/** Where credentials are kept, as `--json` prints it: exactly one of the two. */
export function storedIn({ file, helper }: Storage): StoredIn {
  return helper === undefined ? { file } : { helper }
}

export function describeStorage({ file, helper }: Storage): string {
  return helper === undefined ? file : `the credential helper docker-credential-${helper} (named in ${file})`
}
