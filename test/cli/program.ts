import { join } from 'node:path'
import { Config, settings } from '@oclif/core'
import { describeProgram, type ProgramModel } from '../../src/cli/manual/program.ts'

export const ROOT = join(import.meta.dirname, '../..')

/** The built commands as oclif knows them. */
export async function loadConfig(): Promise<Config> {
  // Under vitest oclif would look for the sources, and for a compiler.
  settings.enableAutoTranspile = false
  return await Config.load(ROOT)
}

export async function loadProgram(): Promise<ProgramModel> {
  return describeProgram(await loadConfig())
}
