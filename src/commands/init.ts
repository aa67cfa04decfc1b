import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { CONFIG_NAME } from '../cli/input/config.ts'
import { configurableFlags, imageArgs, outputForceFlag } from '../cli/input/flags.ts'
import type { InitResult } from '../cli/output/shapes/results.ts'
import { AirgapError } from '../errors.ts'
import { shellWord } from '../text.ts'

export default class Init extends BaseCommand {
  static override description =
    'Write a commented airgap.yaml\nThe images and flags that you give become keys of the config, which list, resolve and pack read with --config. All other keys are written as commented examples. No registry is contacted.'

  static override examples = [
    {
      description: 'A template to fill in',
      command: '<%= config.bin %> <%= command.id %>',
    },
    {
      description: 'With some keys filled in',
      command: '<%= config.bin %> <%= command.id %> --kubeadm v1.36.3 --platform linux/amd64 nginx:1.29',
    },
    {
      description: 'With the schema, for completion in editors',
      command:
        '<%= config.bin %> <%= command.id %> --images-from images.txt --name apps --schema airgap.schema.json',
    },
    {
      description: 'Only the schema',
      command: '<%= config.bin %> <%= command.id %> --print-schema',
    },
  ]

  static override args = imageArgs

  static override flags = {
    output: Flags.string({
      char: 'o',
      description: 'Write the config here; - is standard output',
      default: CONFIG_NAME,
      helpValue: 'FILE',
    }),
    ...outputForceFlag,
    schema: Flags.string({
      description: 'Also write the JSON schema here, and name it in the config for completion in editors',
      helpValue: 'FILE',
    }),
    'print-schema': Flags.boolean({
      description: 'Print the JSON schema of a config and write no file',
      exclusive: ['schema'],
    }),
    name: Flags.string({ description: "The bundle's name", helpValue: 'NAME' }),
    'bundle-version': Flags.string({ description: "The bundle's version, free text", helpValue: 'TEXT' }),
    ...configurableFlags,
  }

  async run(): Promise<InitResult | object> {
    const parsed = await this.parse(Init)
    const { flags } = parsed
    const { default: schema } = await import('../inputs/config/airgap-config.schema.json', {
      with: { type: 'json' },
    })
    const schemaText = `${JSON.stringify(schema, null, 2)}\n`
    if (flags['print-schema']) {
      this.print(schemaText.trimEnd())
      return schema
    }
    const toStandardOutput = flags.output === '-'
    if (toStandardOutput && this.jsonEnabled()) {
      throw new AirgapError('USAGE', '-o - and --json both write to standard output')
    }
    const { configOf, writeAll } = await import('../cli/input/init.ts')
    const { text, config } = await configOf(parsed)
    await writeAll(
      [
        ...(toStandardOutput ? [] : [{ file: flags.output, text }]),
        ...(flags.schema === undefined ? [] : [{ file: flags.schema, text: schemaText }]),
      ],
      flags.force,
    )
    if (toStandardOutput) {
      process.stdout.write(text)
      return { file: flags.output, config }
    }
    this.print(`Wrote ${flags.output}${flags.schema === undefined ? '' : ` and ${flags.schema}`}`)
    this.note(
      (config.images ?? config.imagesFrom ?? config.kubeadm)
        ? `Next: airgap list --config ${shellWord(flags.output)}`
        : `Next: fill in images, imagesFrom or kubeadm, then airgap list --config ${shellWord(flags.output)}`,
    )
    return {
      file: flags.output,
      ...(flags.schema === undefined ? {} : { schemaFile: flags.schema }),
      config,
    }
  }
}
