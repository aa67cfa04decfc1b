/**
 * Verifies a bundle and keeps the evidence: the report of a bundle that is good, and of one that is refused, with the
 * signature of whoever has checked. `cosign verify-blob` and `openssl dgst -verify` check that without airgap. The password
 * of the key is in AIRGAP_PASSWORD.
 *
 *     node docs/examples/report.ts bundle.tar airgap.pub auditor.key report.json
 */
import { writeFile } from 'node:fs/promises'
import { AirgapError, readPrivateKey, serializeReport, signBytes, verify } from 'airgap'

const [bundle, key, auditorKey, reportFile] = process.argv.slice(2)
if (bundle === undefined || key === undefined || auditorKey === undefined || reportFile === undefined) {
  console.error('usage: report.ts BUNDLE PUBLIC-KEY AUDITOR-KEY REPORT')
  process.exit(2)
}
// A wrong password is better known before an hour of hashing than behind it.
const auditor = await readPrivateKey(auditorKey, async () => process.env['AIRGAP_PASSWORD'])

try {
  await verify(bundle, {
    keys: [key],
    onReport: async (report) => {
      const bytes = serializeReport(report)
      const { bundleJson, der } = await signBytes(bytes, auditor)
      await writeFile(reportFile, bytes, { flag: 'wx' })
      await writeFile(`${reportFile}.sigstore.json`, bundleJson, { flag: 'wx' })
      await writeFile(`${reportFile}.sig`, der, { flag: 'wx' })
      console.log(`${report.file.path} ${report.verdict}: ${reportFile}`)
      for (const { rule, ok } of report.rules) console.log(`  ${rule}: ${ok ?? 'not checked'}`)
    },
  })
} catch (error) {
  if (!(error instanceof AirgapError)) throw error
  console.error([error.message, error.hint].filter(Boolean).join('\n'))
  process.exitCode = error.exitCode
}
