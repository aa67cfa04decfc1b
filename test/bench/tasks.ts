import { join } from 'node:path'
import { isOnPath } from '../e2e/parts/tools.ts'
import type { Registry } from '../e2e/parts/registries.ts'
import { NAMES } from './input.ts'
import type { Contender } from './race.ts'
import type { World } from './world.ts'

const RUN_JS = join(import.meta.dirname, '../../bin/run.js')
/** Node itself, not npm's wrapper around it. */
export const AIRGAP = `${quote(process.execPath)} ${quote(RUN_JS)}`
const OCI = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'

export interface Task {
  name: string
  contenders: Contender[]
}

/** Packing: all images, and the one with the layer of 1 GiB. */
export function packTask(name: string, images: readonly string[], world: World): Task {
  const { source } = world
  const references = images.map((image) => `${source}/${image}:1`)
  const each = (script: (reference: string, i: number) => string): string =>
    references.map((reference, i) => script(reference, i)).join('\n')
  return {
    name,
    contenders: [
      {
        name: 'airgap pack',
        script: () => `${AIRGAP} pack ${references.join(' ')} -o bundle.tar --no-sign --quiet`,
      },
      ...withTool('skopeo', {
        name: 'skopeo copy … oci-archive:',
        script: () =>
          each(
            (reference, i) =>
              `skopeo copy -q -a --src-tls-verify=false docker://${reference} oci-archive:${i}.tar`,
          ),
      }),
      ...withTool('crane', {
        name: 'crane pull --format=oci',
        script: () => `crane pull --insecure --format=oci ${references.join(' ')} layout`,
      }),
      // The others leave the disk's part for later; this one does what a finished bundle promises.
      ...withTool('crane', {
        name: 'crane pull --format=oci, sync',
        script: () =>
          `crane pull --insecure --format=oci ${references.join(' ')} layout; sync $(find layout -type f)`,
      }),
      ...withTool('regctl', {
        name: 'regctl image export',
        script: () =>
          each(
            (reference, i) => `regctl image export --host reg=${source},tls=disabled ${reference} ${i}.tar`,
          ),
      }),
      ...withTool('oras', {
        name: 'oras copy --to-oci-layout',
        script: () =>
          each((reference, i) => `oras copy --from-plain-http --to-oci-layout ${reference} layout:${i}`),
      }),
      ...withTool('hauler', {
        name: 'hauler store add',
        script: () =>
          `${each((reference) => `hauler store add image ${reference}`)}\nhauler store save -f all.tar.zst`,
      }),
      {
        name: 'floor: curl, sha256sum beside it',
        script: () => curlAll(world, images),
      },
    ],
  }
}

/** Every blob once, to a file, hashed on the way: what no client can do without. */
function curlAll({ source }: World, images: readonly string[]): string {
  return images
    .map(
      (image) => `
digests() { grep -oE '"digest":"sha256:[0-9a-f]{64}"' | cut -d '"' -f 4; }
get() { curl -sSf -H 'Accept: ${OCI}' http://${source}/v2/${image}/manifests/"$1"; }
top=$(get 1); list=$(digests <<< "$top")
if grep -q '"manifests"' <<< "$top"; then list=$(for child in $list; do get "$child" | digests; done); fi
for digest in $list; do
  [ -e "$digest" ] && continue
  sum=$(curl -sSf http://${source}/v2/${image}/blobs/"$digest" | tee "$digest" | sha256sum)
  [ "sha256:\${sum%% *}" = "$digest" ]
done`,
    )
    .join('\n')
}

/** What the tasks behind packing work with: the same content, as each tool wants it. */
export interface Packed {
  bundle: string
  lock: string
  /** Of each image in turn. */
  archives: string[]
  layouts: string[]
  exports: string[]
  extracted: string
}

export async function pushTask(packed: Packed, world: World): Promise<Task> {
  let target: Registry | undefined
  const fresh = {
    prepare: async () => {
      target = await world.emptyRegistry()
    },
    after: async () => {
      await target?.[Symbol.asyncDispose]()
    },
  }
  const each = (script: (image: string, i: number) => string): string =>
    NAMES.map((image, i) => script(image, i)).join('\n')
  return {
    name: 'push',
    contenders: [
      {
        ...fresh,
        name: 'airgap push',
        script: () =>
          `${AIRGAP} push ${packed.bundle} ${target?.host} --path strip-host --allow-unsigned --quiet`,
      },
      ...withTool('skopeo', {
        ...fresh,
        name: 'skopeo copy oci-archive:',
        script: () =>
          each(
            (image, i) =>
              `skopeo copy -q -a --dest-tls-verify=false oci-archive:${packed.archives[i]} docker://${target?.host}/${image}:1`,
          ),
      }),
      ...withTool('crane', {
        ...fresh,
        name: 'crane push',
        script: () =>
          each((image, i) => `crane push --insecure --index ${packed.layouts[i]} ${target?.host}/${image}:1`),
      }),
      ...withTool('regctl', {
        ...fresh,
        name: 'regctl image import',
        script: () =>
          each(
            (image, i) =>
              `regctl image import --host reg=${target?.host},tls=disabled ${target?.host}/${image}:1 ${packed.exports[i]}`,
          ),
      }),
      {
        ...fresh,
        name: 'floor: curl -T',
        script: () => `
cd ${packed.extracted}/blobs/sha256
for blob in *; do
  location=$(curl -sSf -X POST -D - -o /dev/null http://${target?.host}/v2/all/blobs/uploads/ | grep -i '^location:' | tr -d '\\r' | cut -d ' ' -f 2)
  curl -sSf -T "$blob" -H 'Content-Type: application/octet-stream' "$location&digest=sha256:$blob"
done`,
      },
    ],
  }
}

export function verifyTask(packed: Packed): Task {
  return {
    name: 'verify',
    contenders: [
      {
        name: 'airgap verify',
        script: () => `${AIRGAP} verify ${packed.bundle} --integrity-only --quiet`,
      },
      {
        name: 'floor: sha256sum -c, extracted',
        script: () => `cd ${packed.extracted}; sha256sum --quiet -c SHA256SUMS`,
      },
    ],
  }
}

export function reuseTask(packed: Packed): Task {
  return {
    name: 'pack again, from an earlier bundle',
    contenders: [
      {
        name: 'airgap pack --lock … --reuse …',
        script: () =>
          `${AIRGAP} pack --lock ${packed.lock} --reuse ${packed.bundle} -o again.tar --no-sign --quiet`,
      },
      {
        name: 'floor: cp, sync',
        script: () => `cp --reflink=never ${packed.bundle} again.tar; sync again.tar`,
      },
    ],
  }
}

/** The scripts that make what the tasks work with, in a folder of its own. */
export function packingScript(packed: Packed, { source }: World): string {
  const each = (script: (reference: string, i: number) => string): string =>
    NAMES.map((image, i) => script(`${source}/${image}:1`, i)).join('\n')
  const all = NAMES.map((image) => `${source}/${image}:1`).join(' ')
  return `
${AIRGAP} resolve ${all} -o ${packed.lock} --quiet
${AIRGAP} pack --lock ${packed.lock} -o ${packed.bundle} --no-sign --quiet
mkdir ${packed.extracted}; tar -xf ${packed.bundle} -C ${packed.extracted}
${isOnPath('skopeo') ? each((reference, i) => `skopeo copy -q -a --src-tls-verify=false docker://${reference} oci-archive:${packed.archives[i]}`) : ''}
${isOnPath('crane') ? each((reference, i) => `crane pull --insecure --format=oci ${reference} ${packed.layouts[i]}`) : ''}
${isOnPath('regctl') ? each((reference, i) => `regctl image export --host reg=${source},tls=disabled ${reference} ${packed.exports[i]}`) : ''}`
}

function withTool(tool: string, contender: Contender): Contender[] {
  return isOnPath(tool) ? [contender] : []
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
