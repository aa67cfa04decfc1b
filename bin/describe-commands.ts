/** Writes down what the built commands say of themselves, so that they need not be imported to be listed. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Config } from '@oclif/core'
import { DESCRIPTIONS } from '../src/cli/plugin.ts'

const root = join(import.meta.dirname, '..')
const { commands } = await Config.load({ root, ignoreManifest: true })
await writeFile(join(root, DESCRIPTIONS), `${JSON.stringify(commands, null, 1)}\n`)
