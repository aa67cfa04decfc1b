/** A number of blobs, and their bytes together. */
export interface Amount {
  count: number
  bytes: number
}
