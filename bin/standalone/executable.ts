import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

/**
 * Puts a program and its assets into a copy of a Node.js binary.
 * See https://nodejs.org/api/single-executable-applications.html.
 *
 * @param folder holds `main` and is worked in: the blob records the name as it is given.
 * @param assets files by the name under which the program reads them.
 */
export async function buildExecutable(
  folder: string,
  options: { node: string; output: string; assets: Record<string, string>; useCodeCache: boolean },
): Promise<void> {
  const { node, output, assets, useCodeCache } = options
  const config = {
    main: 'airgap.js',
    executable: node,
    output,
    assets,
    disableExperimentalSEAWarning: true,
    useCodeCache,
    useSnapshot: false,
    // Neither NODE_OPTIONS nor a flag changes what the program does.
    execArgvExtension: 'none',
  }
  await writeFile(join(folder, 'sea.json'), JSON.stringify(config))
  // V8's code cache holds what depends on random numbers: with a fixed seed the same inputs give the same bytes.
  await promisify(execFile)(process.execPath, ['--random-seed=1', '--build-sea', 'sea.json'], { cwd: folder })
}
