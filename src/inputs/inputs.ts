import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'
import { compareBytes } from '../oci/json.ts'
import { parsePattern } from '../oci/pattern.ts'
import { formatReference, parseReference, type Reference } from '../oci/reference.ts'
import { MAX_LIST_SIZE, parseImageList } from './image-list.ts'
import { kubeadmImages } from './kubeadm.ts'

/** Everything that can name images. */
export interface Inputs {
  images?: readonly string[]
  /** Files; `-` is standard input. */
  imagesFrom?: readonly string[]
  /** Kubernetes releases. */
  kubeadm?: readonly string[]
  kubeadmRepository?: string | undefined
  /** Patterns of references to leave out. */
  exclude?: readonly string[]
  /** Places in a config file (`FILE:LINE:COLUMN`) of the values above that did not come from flags. */
  places?: InputPlaces | undefined
}

export interface InputPlaces {
  images?: readonly string[]
  imagesFrom?: readonly string[]
  kubeadmRepository?: string
  exclude?: readonly string[]
}

/** A reference, and the kind of input that named it first. */
export interface NamedImage {
  reference: Reference
  from: 'argument' | 'list' | 'kubeadm' | 'config'
}

/**
 * Collects the references that the inputs name: fully qualified, sorted, without duplicates.
 *
 * @param readStandardInput called for `-`; without it, `-` is an error.
 * @param warn called for lists without images and patterns that exclude nothing.
 * @throws AirgapError `INVALID_REFERENCE`, `INVALID_LIST`, `UNKNOWN_KUBEADM_RELEASE`, `USAGE`, `FILE`
 */
export async function collectImages(
  inputs: Inputs,
  readStandardInput: () => Promise<Uint8Array> = noStandardInput,
  warn: (message: string) => void = () => {},
): Promise<NamedImage[]> {
  const named: NamedImage[] = []
  const { places = {} } = inputs
  const from = places.images ? 'config' : 'argument'
  for (const text of inputs.images ?? []) named.push({ reference: parseReference(text), from })
  const lists = inputs.imagesFrom ?? []
  if (lists.filter((file) => file === '-').length > 1) {
    throw new AirgapError('USAGE', 'standard input can be read only once, but two lists should come from it')
  }
  for (const [i, file] of lists.entries()) {
    const isStandardInput = file === '-'
    const bytes = isStandardInput ? await readStandardInput() : await readList(file, places.imagesFrom?.[i])
    const references = parseImageList(bytes, isStandardInput ? 'standard input' : file)
    if (references.length === 0) warn(`${isStandardInput ? 'standard input' : file} names no image`)
    for (const reference of references) named.push({ reference, from: 'list' })
  }
  for (const version of inputs.kubeadm ?? []) {
    for (const reference of kubeadmImages(version, inputs.kubeadmRepository))
      named.push({ reference, from: 'kubeadm' })
  }
  if (inputs.kubeadmRepository !== undefined && (inputs.kubeadm ?? []).length === 0) {
    throw new AirgapError(
      'USAGE',
      places.kubeadmRepository === undefined
        ? 'a repository of kubeadm images is given, but no release of kubeadm'
        : `${places.kubeadmRepository}: kubeadmRepository says where kubeadm images are, but there is no release under kubeadm`,
    )
  }
  if (named.length === 0) {
    throw new AirgapError('USAGE', 'no image is named', {
      hint: { id: 'name-images' },
    })
  }
  return excludeAndSort(named, inputs, warn)
}

/** @param place the place in a config that names the list. */
async function readList(file: string, place: string | undefined): Promise<Uint8Array> {
  try {
    return await readSmallFile(file, MAX_LIST_SIZE)
  } catch (error) {
    if (place === undefined || !(error instanceof AirgapError)) throw error
    throw error.with({ doing: undefined, reason: `${place}: ${error.message}`, cause: error })
  }
}

function excludeAndSort(
  named: readonly NamedImage[],
  { exclude = [], places }: Inputs,
  warn: (message: string) => void,
): NamedImage[] {
  const unique = new Map<string, NamedImage>()
  for (const image of named) {
    const text = formatReference(image.reference)
    if (!unique.has(text)) unique.set(text, image)
  }
  for (const [i, text] of exclude.entries()) {
    const pattern = parsePattern(text)
    const excluded = [...unique].filter(([, { reference }]) => pattern(reference))
    if (excluded.length === 0) {
      const place = places?.exclude?.[i]
      warn(`${place === undefined ? 'the pattern' : `${place}: exclude`} ${text} excludes nothing`)
    }
    for (const [key] of excluded) unique.delete(key)
  }
  if (unique.size === 0) throw new AirgapError('USAGE', 'every image is excluded')
  return [...unique].toSorted(([a], [b]) => compareBytes(a, b)).map(([, image]) => image)
}

async function noStandardInput(): Promise<never> {
  throw new AirgapError('USAGE', 'a list should be read from standard input, but there is none')
}
