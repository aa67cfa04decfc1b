import { buffer } from 'node:stream/consumers'
import { AirgapError } from '../../errors.ts'
import { MAX_LIST_SIZE } from '../../inputs/image-list.ts'
import { collectImages, type InputPlaces, type NamedImage } from '../../inputs/inputs.ts'
import { configHere } from './config.ts'

/** The values of `inputFlags` and the image arguments. */
export interface InputFlagValues {
  'images-from'?: string[] | undefined
  kubeadm?: string[] | undefined
  'kubeadm-repository'?: string | undefined
  exclude?: string[] | undefined
  config?: string | undefined
  /** Set by `withConfig`. */
  inputPlaces?: InputPlaces
}

/** The images that a command line names. */
export async function imagesOf(
  images: readonly string[],
  flags: InputFlagValues,
  warn: (message: string) => void,
): Promise<NamedImage[]> {
  const sources = [images, flags['images-from'] ?? [], flags.kubeadm ?? []]
  if (sources.every(({ length }) => length === 0)) {
    const hint =
      flags.config === undefined
        ? configHere()
        : 'Fill in images, imagesFrom or kubeadm there, or name images.'
    if (hint !== undefined)
      throw new AirgapError('USAGE', `${flags.config ?? 'the command line'} names no image`, { hint })
  }
  return collectImages(
    {
      images,
      imagesFrom: flags['images-from'] ?? [],
      kubeadm: flags.kubeadm ?? [],
      kubeadmRepository: flags['kubeadm-repository'],
      exclude: flags.exclude ?? [],
      places: flags.inputPlaces,
    },
    readStandardInput,
    warn,
  )
}

export async function readStandardInput(): Promise<Uint8Array> {
  if (process.stdin.isTTY) {
    throw new AirgapError('USAGE', '--images-from - reads standard input, and nothing is piped into it')
  }
  let size = 0
  return buffer(
    process.stdin.map((chunk: Buffer) => {
      size += chunk.length
      if (size > MAX_LIST_SIZE)
        throw new AirgapError('INVALID_LIST', 'standard input: too large for a list of images')
      return chunk
    }),
  )
}
