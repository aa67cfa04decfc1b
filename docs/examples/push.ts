/**
 * Pushes a bundle into a private registry under names of its own, and keeps the receipt. Ctrl-C calls the push off;
 * what has arrived by then is not sent again by the next one.
 *
 *     node docs/examples/push.ts bundle.tar airgap.pub registry.internal:5000 receipt.json
 */
import { writeFile } from 'node:fs/promises'
import { AirgapError, push, serializeReceipt } from 'airgap'
import type { Receipt } from 'airgap'

const [bundle, key, registry, receiptFile] = process.argv.slice(2)
if (bundle === undefined || key === undefined || registry === undefined || receiptFile === undefined) {
  console.error('usage: push.ts BUNDLE PUBLIC-KEY REGISTRY RECEIPT')
  process.exit(2)
}

const interrupt = new AbortController()
process.once('SIGINT', () => interrupt.abort())

/** Tags that were set are on record even where the rest was not. */
async function keep(receipt: Receipt, file: string): Promise<void> {
  await writeFile(file, serializeReceipt(receipt), { flag: 'wx' })
}

try {
  const receipt = await push(bundle, `${registry}/mirror`, {
    keys: [key],
    maps: ['registry.k8s.io=k8s', 'docker.io/library=hub'],
    signal: interrupt.signal,
    onEvent: (event) => {
      if (event.type === 'item') console.log(`${event.outcome} ${event.name}`)
    },
    onIncomplete: (partial) => keep(partial, `${receiptFile}.incomplete`),
  })
  await keep(receipt, receiptFile)
  console.log(`${receipt.images.length} images, ${receipt.totals.uploaded.bytes} bytes sent: ${receiptFile}`)
} catch (error) {
  if (interrupt.signal.aborted) {
    console.error('called off; push again to go on')
    process.exitCode = 6
  } else if (error instanceof AirgapError) {
    console.error([error.message, error.hint].filter(Boolean).join('\n'))
    process.exitCode = error.exitCode
  } else {
    throw error
  }
}
