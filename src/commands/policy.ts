import { join } from 'node:path'
import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { outputForceFlag } from '../cli/input/flags.ts'
import type { PolicyResult } from '../cli/output/shapes/results.ts'
import { ENFORCERS, type PolicyFile } from '../index.ts'

export default class Policy extends BaseCommand {
  static override description =
    'Write an admission policy that makes a cluster run only signed images\nImages from the registry that push pushes to must be signed with the key of push --sign-images. The policy is for kyverno (ClusterPolicy), policy-controller (ClusterImagePolicy), or containers (policy.json and registries.d, for Podman, CRI-O and Skopeo on the nodes). No registry and no cluster is contacted. The policy for containers also refuses all other registries, and images from files.'

  static override examples = [
    {
      description: 'Kyverno, for all images below a prefix',
      command: '<%= config.bin %> <%= command.id %> kyverno harbor.internal/mirror --key cluster.pub',
    },
    {
      description: 'Straight into the cluster',
      command:
        '<%= config.bin %> <%= command.id %> policy-controller harbor.internal/mirror --key cluster.pub | kubectl apply -f -',
    },
    {
      description: 'Files for the nodes, in a folder',
      command:
        '<%= config.bin %> <%= command.id %> containers harbor.internal/mirror --key cluster.pub -o nodes',
    },
    {
      description: 'For the images of a list, pushed under names without the source registry',
      command:
        '<%= config.bin %> <%= command.id %> containers harbor.internal --key cluster.pub --path strip-host --images-from images.txt',
    },
  ]

  static override args = {
    enforcer: Args.string({
      description: 'What enforces the policy',
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
      description: 'Public key that images must be signed with; with several, one is enough',
      helpValue: 'PUB',
      helpGroup: 'TRUST',
    }),
    path: Flags.option({
      options: ['full', 'strip-host', 'flat'] as const,
      default: 'full',
      description: 'For containers: the --path of push',
      helpGroup: 'NAMES',
    })(),
    map: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'For containers: the --map of push',
      helpValue: 'FROM=TO',
      helpGroup: 'NAMES',
    }),
    source: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description:
        'For containers: registry that images come from, or a path in it; with full names, by default the usual public registries',
      helpValue: 'REGISTRY[/PATH]',
      helpGroup: 'NAMES',
    }),
    'images-from': Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      description: 'For containers: file with a list of the images, instead of --source; - is standard input',
      helpValue: 'FILE',
      helpGroup: 'NAMES',
    }),
    'allow-local': Flags.boolean({
      description: 'For containers: accept images from files, and images that a node already has',
    }),
    output: Flags.string({
      char: 'o',
      description: 'Write the files to this folder instead of standard output',
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

/** All files as one YAML stream (JSON is YAML too). A single file stays as it is. */
function policyText(files: readonly PolicyFile[]): string {
  const [only, ...others] = files
  if (only && others.length === 0) return only.text
  return files.map(({ about, text }) => `# ${about}\n${text}`).join('---\n')
}
