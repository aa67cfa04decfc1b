import { toJsonSchema } from '@valibot/to-json-schema'
import { expect, it } from 'vitest'
import { ReceiptSchema } from '../../src/transfer/push/receipt.ts'

it('the published schema of the receipt is the one in the code (vitest -u renews it)', async () => {
  const schema = { title: 'Receipt of an airgap push', ...toJsonSchema(ReceiptSchema) }
  await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(
    '../../docs/schemas/receipt.schema.json',
  )
})
