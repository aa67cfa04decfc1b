import { join } from 'node:path'
import { build, type Metafile } from 'esbuild'
import { threadAsset, THREADS, type ThreadName } from '../../src/threads.ts'
import { ROOT } from './root.ts'

export interface Bundles {
  main: string
  /** By asset name. */
  threads: Record<string, string>
  metafiles: Metafile[]
}

/** Bundles the command line and each thread's program into one file each, below `folder`. */
export async function bundle(folder: string): Promise<Bundles> {
  const main = join(folder, 'airgap.js')
  const metafiles = [await bundleFile('bin/standalone/entry.ts', main)]
  const threads: Record<string, string> = {}
  for (const name of Object.keys(THREADS) as ThreadName[]) {
    const asset = threadAsset(name)
    threads[asset] = join(folder, asset)
    metafiles.push(await bundleFile(`src/${THREADS[name]}.ts`, threads[asset]))
  }
  return { main, threads, metafiles }
}

async function bundleFile(entry: string, outfile: string): Promise<Metafile> {
  const { metafile, warnings } = await build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    target: `node${process.versions.node}`,
    // In this format what Node brings along is loaded when it is needed, and not all of it at the start.
    format: 'cjs',
    // oclif asks for it where commands are in TypeScript, which the bundled ones are not.
    external: ['typescript'],
    // It is asked for where there are files of our own, and there are none in the executable.
    logOverride: { 'empty-import-meta': 'silent' },
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  })
  if (warnings.length > 0) throw new Error(`esbuild warns of ${entry}`)
  return metafile
}
