import { lstat, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder that goes away with the test. */
export async function scratch(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'airgap-e2e-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** A folder that later runs find again. Nobody else may have made it: its content is trusted. */
export async function cacheFolder(): Promise<string> {
  const uid = process.getuid?.() ?? 0
  const path = join(tmpdir(), `airgap-e2e-cache-${uid}`)
  await mkdir(path, { recursive: true, mode: 0o700 })
  const info = await lstat(path)
  if (!info.isDirectory() || info.uid !== uid || (info.mode & 0o022) !== 0) {
    throw new Error(`${path} is not a folder of ours alone; move it away`)
  }
  return path
}
