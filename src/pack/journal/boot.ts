import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'

/**
 * A name for this start of the machine: as long as it is the same, what was written is still in the page cache, synced
 * or not (proc_sys_kernel(5), random/boot_id). Where there is none, another one each time.
 */
export async function bootName(): Promise<string> {
  const text = await readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '')
  return /^[0-9a-f-]{36}\n$/.test(text) ? text.trim() : randomUUID()
}
