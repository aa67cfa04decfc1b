import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { CONFIG_NAME } from '../cli/input/config.ts'
import { configurableFlags, imageArgs, outputForceFlag } from '../cli/input/flags.ts'
import type { InitResult } from '../cli/output/shapes/results.ts'
import { AirgapError } from '../errors.ts'
import { shellWord } from '../text.ts'

export default class Init extends BaseCommand {
  static override description =
    'Write a commented airgap.yaml\nThe images and flags that are given become the keys of a config, which list, resolve and pack read with --config; every other key stands in it as an example. With nothing given, all of it is examples. Nothing is asked of any registry.'

  static override examples = [
    {
      description: 'A file of examples, to fill in',
      command: '<%= config.bin %> <%= command.id %>',
    },
    {
      description: 'What is given, and examples of the rest',
      command: '<%= config.bin %> <%= command.id %> --kubeadm v1.36.3 --platform linux/amd64 nginx:1.29',
    },
    {
      description: 'With the schema, so that editors complete it',
      command:
        '<%= config.bin %> <%= command.id %> --images-from images.txt --name apps --schema airgap.schema.json',
    },
    {
      description: 'The schema alone',
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
      description: 'Write the JSON schema here too, and name it in the config, so that editors complete it',
      helpValue: 'FILE',
    }),
    'print-schema': Flags.boolean({
      description: 'Print the JSON schema of a config, and write nothing',
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
      throw new AirgapError('USAGE', '-o - and --json both want standard output')
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
