import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { RequestLogEntry } from '../../src/serve/registry/request.ts'
import { serveBundles, type ServedBundles } from '../../src/serve/serve.ts'
import { bundleOf, draftOf, temporaryFolder, type DraftImage } from '../support/build-bundle.ts'
import { TRUST } from '../verify/check-bundle.ts'

/** Bundles that are served for one test. */
export interface Serving {
  served: ServedBundles
  /** Paths of the bundle files. */
  files: string[]
  /** Finished requests. */
  log: RequestLogEntry[]
  /** `GET /v2/PATH`, or another method. */
  get(path: string, init?: RequestInit): Promise<Response>
}

/** Writes a signed bundle for each list of images. */
export async function writeBundles(...bundles: DraftImage[][]): Promise<string[]> {
  const folder = await temporaryFolder()
  return Promise.all(
    bundles.map(async (images, i) => {
      const path = join(folder, `${'abcdef'[i]}.tar`)
      await writeFile(path, bundleOf(await draftOf(images)))
      return path
    }),
  )
}

/** Serves files on a free port until the test is over. */
export async function serveFiles(
  files: string[],
  options: Partial<Parameters<typeof serveBundles>[1]> = {},
): Promise<Serving> {
  const log: RequestLogEntry[] = []
  const served = await serveBundles(files, {
    trust: TRUST,
    listen: { host: '127.0.0.1', port: 0 },
    onRequest: (entry) => log.push(entry),
    ...options,
  })
  onTestFinished(() => served.stop(0))
  return { served, files, log, get: (path, init) => fetch(`${served.url}/v2/${path}`, init) }
}

export async function serveImages(...bundles: DraftImage[][]): Promise<Serving> {
  return serveFiles(await writeBundles(...bundles))
}

/** Status, and the first error's code or the digest. */
export async function gist(response: Response): Promise<string> {
  const text = await response.text()
  if (response.ok) return `${response.status} ${response.headers.get('docker-content-digest')}`
  const { errors } = JSON.parse(text) as { errors: { code: string }[] }
  return `${response.status} ${errors[0]?.code}`
}
