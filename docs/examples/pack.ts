/**
 * Packs a list of images into one signed bundle, and keeps the lock that pins them: with it, the same bundle can be
 * packed again later, whatever has become of the tags.
 *
 *     node docs/examples/pack.ts images.txt airgap.key bundle.tar
 *
 * The password of the key is in AIRGAP_PASSWORD. `bundle.tar.lock` is written beside the bundle.
 */
import { writeFile } from 'node:fs/promises'
import { AirgapError, collectImages, pack, readPrivateKey, resolve, serializeLock } from 'airgap'
import type { TransferEvent } from 'airgap'

const [list, keyFile, output] = process.argv.slice(2)
if (list === undefined || keyFile === undefined || output === undefined) {
  console.error('usage: pack.ts LIST KEY OUTPUT')
  process.exit(2)
}

/** One line for each image that is complete, and what deserves a person's attention. */
function report(event: TransferEvent): void {
  if (event.type === 'phase') console.log(`${event.phase}: ${event.items} items, ${event.bytes} bytes`)
  else if (event.type === 'image') console.log(`  ${event.name} ${event.outcome}`)
  else if (event.type === 'warning') console.error(`warning: ${event.message}`)
  else if (event.type === 'registry' && event.notice.type === 'retry')
    console.error(`again in ${event.notice.delayMs} ms: ${event.notice.reason}`)
}

try {
  const images = await collectImages({ imagesFrom: [list] })
  const key = await readPrivateKey(keyFile, async () => process.env['AIRGAP_PASSWORD'])
  const lock = await resolve({ images, platforms: ['linux/amd64'], onEvent: report })
  const packed = await pack({ lock, output, key, version: '2026.1', onEvent: report })
  await writeFile(`${output}.lock`, serializeLock(lock), { flag: 'wx' })
  console.log(`${output}: ${lock.images.length} images, ${packed.size} bytes`)
  console.log(`to be approved: ${packed.bundleDigest}`)
} catch (error) {
  if (!(error instanceof AirgapError)) throw error
  console.error(`${error.code}: ${error.message}`)
  for (const { entry, message } of error.problems) console.error(`  ${entry}: ${message}`)
  if (error.hint !== undefined) console.error(error.hint)
  process.exitCode = error.exitCode
}
