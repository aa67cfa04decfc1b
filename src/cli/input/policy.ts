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

/** Writes files below a folder, which is made where it is not there. */
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

/** What has to be known of a policy before it is installed. */
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
    const text = `${given.join(', ')}: ${enforcer} compares no names of sources, so its policy is the same without`
    return [{ isWarning: false, text }]
  }
  const notes = [
    {
      isWarning: true,
      text: flags['allow-local']
        ? 'this policy.json refuses every image that does not come by these registries, and lets pass what comes in files'
        : 'this policy.json refuses every image that does not come by these registries: other registries, and what comes in files (podman load) or is built on the node. With --allow-local it lets the latter pass',
    },
  ]
  if (keys.length > 1) {
    const text =
      'several keys (keyDatas) are read by containers/image 5.32.2 and newer (Podman 5.3, for one); older ones refuse the whole file'
    notes.push({ isWarning: true, text })
  }
  const isNamed = [flags.source, flags['images-from'], flags.map].some((list) => (list?.length ?? 0) > 0)
  if (!isNamed) {
    const text =
      'it knows the images of the usual public registries; those of others are refused until --source names them'
    notes.push({ isWarning: true, text })
  }
  return notes
}
