import { Args, Flags } from '@oclif/core'
import { logHandshakeFault, logRequest } from '../cli/output/access-log.ts'
import { BaseCommand } from '../cli/base-command.ts'
import { trustFlags } from '../cli/input/flags.ts'
import { plural } from '../cli/output/format.ts'
import { Progress } from '../cli/output/progress.ts'
import type { ServeResult } from '../cli/output/shapes/serve.ts'
import { trustFrom } from '../cli/input/trust.ts'
import { AirgapError } from '../errors.ts'
import { readSmallFile } from '../files/small-file.ts'
import { isRegistryHost } from '../oci/reference.ts'
import type { HostsFolder } from '../index.ts'

const MAX_PEM = 1024 * 1024
/** How long running transfers may take to finish after Ctrl-C, in milliseconds. */
const PATIENCE = 10_000

export default class Serve extends BaseCommand {
  static override description =
    'Serve bundles as a read-only registry, straight from the files\nVerifies all bundles completely before serving anything. Every image can be pulled by its full name (docker.io/library/nginx), by that name without its registry (library/nginx), and as containerd does with ?ns=; a name that could mean two images is refused. Prints the configuration that nodes need to pull the images under their original names.'

  static override examples = [
    '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub',
    '<%= config.bin %> <%= command.id %> k8s.tar apps.tar --key airgap.pub --listen 0.0.0.0:5000 --tls-cert server.crt --tls-key server.key',
    '<%= config.bin %> <%= command.id %> k8s.tar --key airgap.pub --listen 10.0.0.5:5000 --plain-http --hosts-dir certs.d',
  ]

  static override args = {
    bundle: Args.string({
      description: 'The bundle files',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  }

  static override flags = {
    listen: Flags.string({
      description: 'Address to listen on; one that other machines can reach needs TLS or --plain-http',
      default: '127.0.0.1:5000',
      helpValue: 'HOST:PORT',
    }),
    'tls-cert': Flags.string({
      description: "PEM file with the server's certificate and its intermediates",
      helpValue: 'FILE',
      dependsOn: ['tls-key'],
    }),
    'tls-key': Flags.string({
      description: "PEM file with the server's private key",
      helpValue: 'FILE',
      dependsOn: ['tls-cert'],
    }),
    'plain-http': Flags.boolean({
      description: 'Allow plain HTTP on an address that other machines can reach',
      exclusive: ['tls-cert'],
    }),
    advertise: Flags.string({
      description:
        'Name by which nodes reach this registry: it answers to that name, and writes it into their configuration',
      helpValue: 'HOST[:PORT]',
    }),
    'hosts-dir': Flags.string({
      description: "Write containerd's hosts.toml files below this folder",
      helpValue: 'DIR',
    }),
    force: Flags.boolean({ description: 'Replace existing hosts.toml files', dependsOn: ['hosts-dir'] }),
    'allow-unsigned': Flags.boolean({
      description: 'Serve without checking who made the bundles',
      helpGroup: 'TRUST',
    }),
    ...trustFlags,
  }

  #hasDocument = false

  async run(): Promise<ServeResult> {
    const { args, flags } = await this.parse(Serve)
    const paths = [...new Set(args.bundle)]
    if (flags['expect-digest'] !== undefined && paths.length > 1) {
      throw new AirgapError('USAGE', '--expect-digest is the digest of one bundle, but several are given', {
        hint: 'Serve that bundle alone, or check each with `airgap verify --expect-digest` first.',
      })
    }
    if (flags.advertise !== undefined && !isRegistryHost(flags.advertise)) {
      throw new AirgapError(
        'USAGE',
        `--advertise ${JSON.stringify(flags.advertise)} is not HOST or HOST:PORT`,
      )
    }
    const { parseListen, reachableHost, readCertificate } = await import('../index.ts')
    const listen = parseListen(flags.listen)
    const tls = await readTls(flags['tls-cert'], flags['tls-key'])
    const certificate = tls && readCertificate(tls.cert, flags['tls-cert'] ?? '', Date.now())
    const trust = trustFrom(flags, { flag: '--allow-unsigned', isSet: flags['allow-unsigned'] })

    const { serve, registriesOf, HostsFolder } = await import('../index.ts')
    const { renderServe, serveResult } = await import('../cli/output/render-serve.ts')
    if (flags['allow-unsigned']) {
      this.warning('the bundles are not authenticated (--allow-unsigned): it is not known who made them')
    }
    const { signal } = this
    const hostsDir = flags['hosts-dir']
    const progress = new Progress()
    let hosts: HostsFolder | undefined
    try {
      await using served = await serve(paths, {
        ...trust,
        listen,
        ...(tls ? { tls } : {}),
        allowPlainHttp: flags['plain-http'],
        advertise: flags.advertise,
        signal,
        onEvent: progress.onEvent,
        onNamed: async (images) => {
          if (hostsDir === undefined) return
          hosts = await HostsFolder.reserve(hostsDir, registriesOf(images), { force: flags.force })
        },
        onRequest: (entry) => logRequest(entry),
        onHandshakeFault: (remote, message) => logHandshakeFault(remote, message),
      })
      progress.stop()
      const port = Number(new URL(served.url).port)
      const reachable = {
        host: flags.advertise ?? reachableHost({ ...listen, port }, certificate),
        isTls: tls !== undefined,
      }
      const document = serveResult(served, reachable)
      await hosts?.write(document.hostsFiles)
      this.print(renderServe(document, served, hostsDir))
      if (this.jsonEnabled()) this.logJson(document)
      await aborted(signal)
      const active = served.active()
      this.note(
        active === 0
          ? 'Stopped.'
          : `Stopping: waiting up to ${PATIENCE / 1000} s for ${plural(active, 'transfer')}. Press Ctrl-C again to stop at once.`,
      )
      await served.stop(PATIENCE)
      return document
    } catch (error) {
      await hosts?.discard()
      throw error
    } finally {
      progress.stop()
    }
  }

  /** The document is printed once: as soon as the server listens, not again at the end. */
  protected override logJson(json: unknown): void {
    if (this.#hasDocument) return
    this.#hasDocument = true
    super.logJson(json)
  }
}

async function readTls(
  certificate: string | undefined,
  key: string | undefined,
): Promise<{ cert: Buffer; key: Buffer } | undefined> {
  if (certificate === undefined || key === undefined) return undefined
  return { cert: await readSmallFile(certificate, MAX_PEM), key: await readSmallFile(key, MAX_PEM) }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
