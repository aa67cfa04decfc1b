import { Config } from '@oclif/core'
import { format, resolveConfig } from 'prettier'
import { manPage } from '../src/cli/manual/man-page.ts'
import { describeProgram } from '../src/cli/manual/program.ts'
import { referencePage } from '../src/cli/manual/reference-page.ts'

/**
 * The pages that are made from the built commands, by their paths in the project.
 * @param root the project's folder.
 */
export async function manuals(root: string): Promise<[path: string, text: string][]> {
  const program = describeProgram(await Config.load(root))
  const style = await resolveConfig(`${root}/package.json`)
  return [
    ['docs/man/airgap.1', manPage(program)],
    ['docs/cli.md', await format(referencePage(program), { ...style, parser: 'markdown' })],
  ]
}
