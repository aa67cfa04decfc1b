/**
 * Packs the successor of a bundle: what the earlier one has is not fetched again. The plan comes first and says what
 * will come over the network; if that is more than is allowed, nothing is done.
 *
 *     node docs/examples/update.ts monday.tar tuesday.tar 500000000 IMAGE...
 *
 * Unsigned, to be short; see pack.ts for a key.
 */
import { pack, resolve } from 'airgap'
import type { PackOptions } from 'airgap'

const [earlier, output, limit, ...images] = process.argv.slice(2)
if (earlier === undefined || output === undefined || !Number.isSafeInteger(Number(limit))) {
  console.error('usage: update.ts EARLIER OUTPUT MOST-BYTES IMAGE...')
  process.exit(2)
}

// Resolved once: the plan and the bundle hold the same, even where a tag moves in between.
const lock = await resolve({ images })
const options: PackOptions = { lock, output, key: 'unsigned', name: 'apps', reuse: [earlier] }

const plan = await pack({ ...options, output: undefined })
console.log(
  `${plan.size} bytes, ${plan.fetched.bytes} of them to fetch, ${plan.reused.bytes} from ${earlier}`,
)
if (plan.fetched.bytes > Number(limit)) {
  console.error(`more than ${limit} bytes would be fetched`)
  process.exit(1)
}

const { bundleDigest, fetched, reused } = await pack(options)
console.log(`${output}: fetched ${fetched.count}, reused ${reused.count} blobs`)
console.log(bundleDigest)
