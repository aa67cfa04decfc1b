import { AirgapError } from '../../errors.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { openRanged } from './blobs.ts'
import type { Shared } from '../net/connection.ts'
import type { Origin } from './download.ts'
import { hostOf, printableUrl } from '../net/hosts.ts'
import type { Context } from '../notices.ts'
import { leadsInside } from '../net/reach.ts'
import type { Repository } from '../repository.ts'
import { failure, type HttpResponse } from '../net/http.ts'
import { type Transport } from '../net/transport.ts'

/**
 * The places outside registries that a foreign layer names (image-spec § descriptor, `urls`). They are asked without
 * credentials, and refused inside a private network unless all the registries that the image may come from are there
 * too: anybody who may push to a public registry can write such an address.
 */
export function foreignOrigins(
  sources: readonly Repository[],
  { digest, urls }: Pick<Descriptor, 'digest' | 'urls'>,
  { transport, reach }: Pick<Shared, 'transport' | 'reach'>,
): Origin[] {
  const registries = [...new Set(sources.map(({ registry }) => registry))]
  const from = registries.map(hostOf)
  const origins: Origin[] = []
  for (const text of urls ?? []) {
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url?.protocol !== 'https:' && url?.protocol !== 'http:') continue
    const operation = `fetch the foreign layer ${digest} from ${printableUrl(url)}`
    const context = { registry: url.host, operation }
    const check = async (to: URL): Promise<void> => {
      if (!(await leadsInside(to.hostname, from, reach))) return
      const named = to === url ? 'which' : `which redirects to ${printableUrl(to)}, which`
      const others =
        registries.length === 0
          ? 'no registry is'
          : `${registries.join(' and ')} ${registries.length === 1 ? 'is' : 'are'} not`
      throw new AirgapError(
        'UNSUPPORTED_CONTENT',
        `cannot ${operation}, ${named} is inside a private network while ${others}`,
        {
          hint: 'Whoever made the image could point at anything here, so it is not asked. If the layer is wanted from there, put it into a registry of yours and name that with --mirror.',
        },
      )
    }
    origins.push({
      name: printableUrl(url),
      host: url.host,
      context,
      open: async (offset, signal, leastRate) => {
        await check(url)
        return openRanged(offset, context, (headers) =>
          get(transport, { url, headers, leastRate, context, signal, checkRedirect: check }),
        )
      },
    })
  }
  return origins
}

async function get(
  transport: Transport,
  request: {
    url: URL
    headers: Record<string, string>
    leastRate: number | undefined
    context: Context
    signal: AbortSignal | undefined
    checkRedirect: (to: URL) => Promise<void>
  },
): Promise<HttpResponse> {
  const response = await transport.request({ method: 'GET', ...request })
  if (response.status === 200 || response.status === 206 || response.status === 416) return response
  throw await failure(response, { kind: 'none' }, request.context)
}
