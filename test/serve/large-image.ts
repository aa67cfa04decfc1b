import { AMD64, image, type BuiltImage } from '../../fixtures/images/index.ts'

/** An image with one uncompressed layer of some more bytes than `size`. */
export async function largeImage(size: number): Promise<BuiltImage> {
  return image('large', AMD64, { files: { filler: Buffer.alloc(size, 'filler ') }, compression: 'none' })
}
