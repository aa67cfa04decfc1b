import { toJsonSchema } from '@valibot/to-json-schema'
import { expect, it } from 'vitest'
import { ConfigSchema } from '../../src/intake/config/schema.ts'

const schema = {
  title: 'Config of airgap (airgap.yaml)',
  ...toJsonSchema(ConfigSchema, { target: 'draft-07', ignoreActions: ['raw_check', 'check'] }),
}

it.each(['docs/schemas/airgap-config.schema.json', 'src/intake/config/airgap-config.schema.json'])(
  '%s is the schema in the code (vitest -u renews it)',
  async (file) => {
    await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(`../../${file}`)
  },
)
