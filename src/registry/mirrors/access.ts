import { createSecureContext } from 'node:tls'
import { AirgapError, messageOf } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { authorityOf, portOf } from '../net/hosts.ts'
import { readCaFile, type HostTls } from '../net/tls.ts'
import type { HostTlsTable } from '../net/trust.ts'
import type { ImagePlaces } from './mirrors.ts'

const MAX_PEM = 1024 * 1024

/** How mirror files tell a client to reach hosts. */
export interface AccessOptions {
  plainHttp: readonly string[]
  insecureSkipTlsVerify: readonly string[]
  insecure: readonly string[]
  hostTls: HostTlsTable
}

/**
 * Puts together how hosts are reached, and reads the certificates.
 * @throws AirgapError `FILE`; `INVALID_CONFIG` where one host is both an http:// and an https:// address.
 */
export async function accessOptions(places: ImagePlaces['access']): Promise<AccessOptions> {
  const plainHttp = new Set<string>()
  const insecure = new Set<string>()
  const insecureSkipTlsVerify = new Set<string>()
  const hostTls = new Map<string, HostTls>()
  const schemes = new Map<string, { scheme: string; origin: string }>()
  const done = new Set<string>()
  for (const { registry, access, origin } of places) {
    const authority = authorityOf(registry)
    const key = JSON.stringify([authority, access])
    if (done.has(key)) continue
    done.add(key)
    const { scheme, skipVerify, ca, client } = access
    if (scheme !== undefined && scheme !== 'either') {
      const other = schemes.get(authority)
      if (other !== undefined && other.scheme !== scheme) {
        throw new AirgapError(
          'INVALID_CONFIG',
          `${registry} is both an http:// and an https:// address: ${[...new Set([other.origin, origin])].join(', ')}`,
          { hint: 'One port can only be one of them: write the right port for each.' },
        )
      }
      schemes.set(authority, { scheme, origin })
    }
    const port = hostAndPort(authority, scheme === 'http' ? 'http' : 'https')
    if (scheme === 'http') plainHttp.add(port)
    if (scheme === 'either') insecure.add(port)
    else if (skipVerify) insecureSkipTlsVerify.add(port)
    if (ca || client) hostTls.set(port, merged(hostTls.get(port), await certificates(ca, client, origin)))
  }
  return {
    plainHttp: [...plainHttp],
    insecure: [...insecure],
    insecureSkipTlsVerify: [...insecureSkipTlsVerify],
    hostTls: Object.fromEntries(hostTls),
  }
}

/** `HOST:PORT`, so that an exception for one port does not count for another. */
function hostAndPort(authority: string, scheme: 'http' | 'https'): string {
  const url = new URL(`${scheme}://${authority}`)
  return `${url.hostname}:${portOf(url)}`
}

async function certificates(
  ca: readonly string[] | undefined,
  client: { cert: string; key: string } | undefined,
  origin: string,
): Promise<HostTls> {
  const authorities = ca?.flatMap((file) => readCaFile(file))
  const pem = async (file: string, what: string): Promise<string> =>
    (await readSmallFile(file, MAX_PEM, what)).toString('latin1')
  const own = client && {
    cert: await pem(client.cert, 'client certificate'),
    key: await pem(client.key, 'client key'),
  }
  if (own) {
    try {
      createSecureContext(own)
    } catch (error) {
      throw new AirgapError(
        'FILE',
        `${origin}: ${client?.cert} and ${client?.key} are not a client certificate and its key (${messageOf(error)})`,
        { hint: 'Both have to be PEM files, and the key without a password.', cause: error },
      )
    }
  }
  return {
    ...(authorities === undefined ? {} : { ca: authorities }),
    ...own,
    files: { ca, cert: client?.cert },
  }
}

function merged(first: HostTls | undefined, second: HostTls): HostTls {
  const files = {
    ca: [...(first?.files?.ca ?? []), ...(second.files?.ca ?? [])],
    cert: first?.files?.cert ?? second.files?.cert,
  }
  return { ...second, ...first, ca: [...(first?.ca ?? []), ...(second.ca ?? [])], files }
}
