import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileError } from '../../errors.ts'
import { readSmallFile } from '../../files/small-file.ts'
import { MAX_LIST_SIZE, parseImageList, type Enforcer, type PolicyFile, type PublicKey } from '../../index.ts'
import type { Reference } from '../../oci/reference.ts'
import { writeAll } from './init.ts'
import { readStandardInput } from './inputs.ts'

/** The images that lists name. */
export async function readImages(lists: readonly string[]): Promise<Reference[]> {
  const all: Reference[] = []
  for (const list of lists) {
    const bytes = list === '-' ? await readStandardInput() : await readSmallFile(list, MAX_LIST_SIZE)
    all.push(...parseImageList(bytes, list === '-' ? 'standard input' : list))
  }
  return all
}

/** Writes files below a folder, which is created if needed. */
export async function writeInto(folder: string, files: readonly PolicyFile[], force: boolean): Promise<void> {
  const outputs = files.map(({ name, text }) => ({ file: join(folder, name), text }))
  for (const { file } of outputs) {
    try {
      await mkdir(dirname(file), { recursive: true })
    } catch (error) {
      throw fileError(error, 'create', dirname(file))
    }
  }
  await writeAll(outputs, force)
}

interface Flags {
  path: string
  map?: string[] | undefined
  source?: string[] | undefined
  'images-from'?: string[] | undefined
  'allow-local': boolean
}

/** What the reader must know about a policy before installing it. */
export function policyNotes(
  enforcer: Enforcer,
  keys: readonly PublicKey[],
  flags: Flags,
): { isWarning: boolean; text: string }[] {
  if (enforcer !== 'containers') {
    const given = [
      ...(flags.path === 'full' ? [] : ['--path']),
      ...(['map', 'source', 'images-from', 'allow-local'] as const)
        .filter((name) => flags[name])
        .map((name) => `--${name}`),
    ]
    if (given.length === 0) return []
    const text = `${given.join(', ')} has no effect: ${enforcer} does not compare names of sources`
    return [{ isWarning: false, text }]
  }
  const notes = [
    {
      isWarning: true,
      text: flags['allow-local']
        ? 'this policy.json refuses every image that does not come from these registries; it accepts images from files'
        : 'this policy.json refuses every image that does not come from these registries: images from other registries, from files (podman load), and built on the node. --allow-local accepts the last two',
    },
  ]
  if (keys.length > 1) {
    const text =
      'several keys (keyDatas) need containers/image 5.32.2 or newer (for example in Podman 5.3); older versions refuse the whole file'
    notes.push({ isWarning: true, text })
  }
  const isNamed = [flags.source, flags['images-from'], flags.map].some((list) => (list?.length ?? 0) > 0)
  if (!isNamed) {
    const text =
      'the policy covers images of the usual public registries; images of other registries are refused unless --source names them'
    notes.push({ isWarning: true, text })
  }
  return notes
}
