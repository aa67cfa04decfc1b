import { join } from 'node:path'
import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { outputForceFlag } from '../cli/input/flags.ts'
import type { PolicyResult } from '../cli/output/shapes/results.ts'
import { ENFORCERS, type PolicyFile } from '../index.ts'

export default class Policy extends BaseCommand {
  static override description =
    'Make the policy by which a cluster runs only what was pushed\nFor the key that push --sign-images signs with, and the registry that it pushes to: kyverno (ClusterPolicy), policy-controller (ClusterImagePolicy), or containers (policy.json and registries.d, for Podman, CRI-O and Skopeo on the nodes). Asks no registry and no cluster. The policy for containers refuses all other registries, and what comes in files.'

  static override examples = [
    {
      description: 'Kyverno, for all that is pushed below a prefix',
      command: '<%= config.bin %> <%= command.id %> kyverno harbor.internal/mirror --key cluster.pub',
    },
    {
      description: 'Straight into the cluster',
      command:
        '<%= config.bin %> <%= command.id %> policy-controller harbor.internal/mirror --key cluster.pub | kubectl apply -f -',
    },
    {
      description: 'The files for nodes, in a folder',
      command:
        '<%= config.bin %> <%= command.id %> containers harbor.internal/mirror --key cluster.pub -o nodes',
    },
    {
      description: 'Names without the registry, of the images that a list has',
      command:
        '<%= config.bin %> <%= command.id %> containers harbor.internal --key cluster.pub --path strip-host --images-from images.txt',
    },
  ]

  static override args = {
    enforcer: Args.string({
      description: 'Who holds workloads to it',
      options: [...ENFORCERS],
      required: true,
      ignoreStdin: true,
    }),
    registry: Args.string({
      description: 'REGISTRY or REGISTRY/PREFIX, as workloads name it',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  }

  static override flags = {
    key: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      required: true,
      description: 'Public key that images are signed with; any one of several suffices',
      helpValue: 'PUB',
      helpGroup: 'TRUST',
    }),
    path: Flags.option({
      options: ['full', 'strip-host', 'flat'] as const,
      default: 'full',
      description: 'For containers: how push has made names',
      helpGroup: 'NAMES',
    })(),
    map: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'For containers: names that push has given besides',
      helpValue: 'FROM=TO',
      helpGroup: 'NAMES',
    }),
    source: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description:
        'For containers: registry that images come from, or a path in it; with full names, the usual public ones unless given',
      helpValue: 'REGISTRY[/PATH]',
      helpGroup: 'NAMES',
    }),
    'images-from': Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'For containers: file that lists the images, instead of --source; - is standard input',
      helpValue: 'FILE',
      helpGroup: 'NAMES',
    }),
    'allow-local': Flags.boolean({
      description: 'For containers: accept what comes in files, and what a node has already',
    }),
    output: Flags.string({
      char: 'o',
      description: 'Write the files into this folder, instead of to standard output',
      helpValue: 'FOLDER',
      helpGroup: 'OUTPUT',
    }),
    ...outputForceFlag,
  }

  async run(): Promise<PolicyResult> {
    const { args, flags } = await this.parse(Policy)
    const { clusterPolicy } = await import('../index.ts')
    const { policyNotes, readImages } = await import('../cli/input/policy.ts')
    const enforcer = ENFORCERS.find((one) => one === args.enforcer) ?? 'kyverno'
    const { registries, keys, files } = await clusterPolicy(enforcer, {
      registries: args.registry,
      keys: flags.key,
      path: flags.path,
      maps: flags.map,
      sources: flags.source,
      images: await readImages(flags['images-from'] ?? []),
      allowLocal: flags['allow-local'],
    })
    for (const { isWarning, text } of policyNotes(enforcer, keys, flags)) {
      if (isWarning) this.warning(text)
      else this.note(text)
    }
    if (flags.output === undefined) this.print(policyText(files).trimEnd())
    else await this.#write(flags.output, files, flags.force)
    return {
      enforcer,
      registries,
      keyFingerprints: keys.map(({ fingerprint }) => fingerprint),
      files,
      ...(flags.output === undefined ? {} : { folder: flags.output }),
    }
  }

  async #write(folder: string, files: readonly PolicyFile[], force: boolean): Promise<void> {
    const { writeInto } = await import('../cli/input/policy.ts')
    await writeInto(folder, files, force)
    this.print(files.map(({ name, about }) => `Wrote ${join(folder, name)}\n  ${about}`).join('\n'))
  }
}

/** All files as one stream of YAML, which JSON is too; a file that is applied as it is stands alone. */
function policyText(files: readonly PolicyFile[]): string {
  const [only, ...others] = files
  if (only && others.length === 0) return only.text
  return files.map(({ about, text }) => `# ${about}\n${text}`).join('---\n')
}
