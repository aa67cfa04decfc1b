import { attempt, type Fault, type YamlPath } from '../../files/yaml-document.ts'
import { identityFrom } from '../identity/identity.ts'
import { readPolicyKey } from '../policy-parts.ts'
import type { Credential, Revocation, Standing } from './policy.ts'
import type { SignerDocument, StandingDocument } from './schema.ts'
import { parseMoment } from './times.ts'

/** A key or an identity, its signer, and its place in the file. */
export interface ReadCredential {
  name: string
  path: YamlPath
  credential: Credential
}

interface Context {
  /** Where relative paths start. */
  folder: string
  /** The policy file. */
  source: string
  faults: Fault[]
}

/** Reads the keys and identities of one signer, including key files. Adds whatever is wrong to the faults. */
export async function readSigner(
  name: string,
  document: SignerDocument,
  context: Context,
): Promise<ReadCredential[]> {
  const { folder, source, faults } = context
  const path = ['signers', name]
  checkOrder(document, path, faults)
  const found: ReadCredential[] = []
  const add = (at: YamlPath, credential: Credential): number => found.push({ name, path: at, credential })
  for (const [i, given] of (document.keys ?? []).entries()) {
    const at = [...path, 'keys', i]
    const own = typeof given === 'string' ? {} : given
    checkOrder(own, at, faults)
    const key = await attempt(at, faults, () => readPolicyKey(given, folder, `${source} (key of ${name})`))
    if (key) add(at, { kind: 'key', key, ...standing(document, own, 'key') })
  }
  for (const [i, given] of (document.identities ?? []).entries()) {
    const at = [...path, 'identities', i]
    checkOrder(given, at, faults)
    const identity = await attempt(at, faults, () => identityFrom(given))
    if (!identity) continue
    const { notBefore, notAfter, revoked, ...written } = given
    const own = { notBefore, notAfter, revoked }
    add(at, { kind: 'identity', identity, written, ...standing(document, own, 'identity') })
  }
  return found
}

function checkOrder({ notBefore, notAfter }: StandingDocument, path: YamlPath, faults: Fault[]): void {
  if (notBefore === undefined || notAfter === undefined) return
  if (parseMoment(notBefore, 'start') <= parseMoment(notAfter, 'end')) return
  faults.push({
    path: [...path, 'notAfter'],
    message: `notAfter (${notAfter}) is before notBefore (${notBefore})`,
  })
}

/** The narrower of the signer's limits and those of the key or identity. */
function standing(signer: StandingDocument, own: StandingDocument, what: 'key' | 'identity'): Standing {
  const starts = [signer.notBefore, own.notBefore].flatMap((text) =>
    text === undefined ? [] : [parseMoment(text, 'start')],
  )
  const ends = [signer.notAfter, own.notAfter].flatMap((text) =>
    text === undefined ? [] : [parseMoment(text, 'end')],
  )
  const revoked = revocation(signer, 'signer') ?? revocation(own, what)
  return {
    ...(starts.length > 0 ? { notBefore: Math.max(...starts) } : {}),
    ...(ends.length > 0 ? { notAfter: Math.min(...ends) } : {}),
    ...(revoked ? { revoked } : {}),
  }
}

function revocation({ revoked }: StandingDocument, what: Revocation['what']): Revocation | undefined {
  if (revoked === undefined || revoked === false) return undefined
  return { what, ...(revoked === true ? {} : revoked) }
}
