import { dirname, isAbsolute, relative, resolve } from 'node:path'
import { AirgapError } from '../../errors.ts'
import { OutputFile } from '../../files/output-file.ts'
import {
  checkConfig,
  parseConfig,
  formatConfig,
  parseImageList,
  type Config,
  type ConfigKey,
} from '../../index.ts'
import { formatReference } from '../../oci/reference.ts'
import { FLAG_OF } from './config.ts'
import { readStandardInput } from './inputs.ts'

/** The command line of init, as oclif has parsed it. */
interface InitCommandLine {
  args: { image?: string[] | undefined }
  flags: { output: string; schema?: string | undefined; 'images-from'?: string[] | undefined }
  metadata: { flags: Record<string, { setFromDefault?: boolean | undefined } | undefined> }
}

/**
 * The config for a command line, and its text. Paths are made relative to the config's folder. `--images-from -` is
 * read now, because a config can only name files.
 *
 * @throws AirgapError `USAGE` naming every flag whose value is not valid in a config; `INVALID_LIST`
 */
export async function configOf({
  args,
  flags,
  metadata,
}: InitCommandLine): Promise<{ text: string; config: Config }> {
  if (flags.schema !== undefined && resolve(flags.schema) === resolve(flags.output)) {
    throw new AirgapError('USAGE', '-o and --schema name the same file')
  }
  const folder = flags.output === '-' ? process.cwd() : dirname(resolve(flags.output))
  const fromFolder = (path: string): string => (isAbsolute(path) ? path : relative(folder, resolve(path)))
  const values: Record<string, unknown> = { configVersion: 1 satisfies Config['configVersion'] }
  for (const [key, flag] of Object.entries(FLAG_OF)) {
    const value = (flags as Record<string, unknown>)[flag]
    if (value !== undefined && metadata.flags[flag]?.setFromDefault !== true) values[key] = value
  }
  const lists = flags['images-from'] ?? []
  const images = [...(args.image ?? []), ...(lists.includes('-') ? await listed() : [])]
  const files = lists.filter((list) => list !== '-').map(fromFolder)
  delete values.imagesFrom
  if (images.length > 0) values.images = images
  if (files.length > 0) values.imagesFrom = files

  const problems = (await checkConfig(values)).map(({ key, message }) => ({ entry: flagOf(key), message }))
  const [first] = problems
  if (first && problems.length === 1) throw new AirgapError('USAGE', `${first.entry}: ${first.message}`)
  if (first) throw new AirgapError('USAGE', `${problems.length} values cannot be used`, { problems })

  const text = await formatConfig(values, {
    schema: flags.schema === undefined ? undefined : schemaPath(fromFolder(flags.schema)),
  })
  // What is written is what will be read.
  return { text, config: (await parseConfig(Buffer.from(text), flags.output)).config }
}

async function listed(): Promise<string[]> {
  return parseImageList(await readStandardInput(), 'standard input').map(formatReference)
}

function flagOf(key: ConfigKey): string {
  return key in FLAG_OF ? `--${FLAG_OF[key as keyof typeof FLAG_OF]}` : 'image arguments'
}

/** The schema's path for the comment that editors read. There a path ends at white space. */
function schemaPath(path: string): string {
  if (!/\s/.test(path)) return path
  throw new AirgapError(
    'USAGE',
    `--schema ${JSON.stringify(path)} contains white space, and editors cannot read such a path`,
  )
}

/**
 * Writes small files: all or none, as far as faults are known beforehand.
 * @throws AirgapError `OUTPUT_EXISTS`, `OUTPUT_UNSAFE`, `FILE`, `DISK_FULL`
 */
export async function writeAll(
  files: readonly { file: string; text: string }[],
  force: boolean,
): Promise<void> {
  const outputs: OutputFile[] = []
  try {
    for (const { file, text } of files) {
      const output = await OutputFile.reserve(file, { force })
      outputs.push(output)
      await output.write(Buffer.from(text), 0)
    }
    for (const output of outputs) await output.commit()
  } finally {
    for (const output of outputs) await output.discard()
  }
}
