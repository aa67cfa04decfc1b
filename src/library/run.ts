import type { RegistryClient, RegistryOptions } from '../registry/client.ts'
import type { OnEvent } from '../transfer/events.ts'

/** What every engine takes. */
export interface RunOptions {
  /** Calls the work off: nothing is left that looks finished, and the promise is rejected with the signal's reason. */
  signal?: AbortSignal | undefined
  /** Is told of everything that happens; must not throw. */
  onEvent?: OnEvent | undefined
}

/** What engines take that talk to registries. */
export interface NetworkOptions extends RunOptions {
  /** How registries are reached: plain HTTP, private CA, credentials file. */
  registries?: Omit<RegistryOptions, 'onNotice'> | undefined
  /** Transfers at a time; 6 where left out. */
  concurrency?: number | undefined
}

/** What the engines below take of it: options that are left out are not there at all. */
export function shared({ signal, onEvent, concurrency }: NetworkOptions): {
  signal?: AbortSignal
  onEvent?: OnEvent
  concurrency?: number
} {
  return {
    ...(signal ? { signal } : {}),
    ...(onEvent ? { onEvent } : {}),
    ...(concurrency === undefined ? {} : { concurrency }),
  }
}

/**
 * Works with a client, and closes it however that ends. The HTTP stack is loaded only now: much goes wrong before it
 * is needed.
 */
export async function withClient<T>(
  { registries, onEvent }: NetworkOptions,
  work: (client: RegistryClient) => Promise<T>,
): Promise<T> {
  const registry = await import('../registry/client.ts')
  const client = new registry.RegistryClient({
    ...registries,
    onNotice: (notice) => onEvent?.({ type: 'registry', notice }),
  })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}
