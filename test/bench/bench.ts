import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { LARGE, NAMES } from './input.ts'
import { measure, median, type Measured } from './measure.ts'
import { environment, leftIn, race, type Result } from './race.ts'
import { makeHugeBundle } from './single.ts'
import {
  AIRGAP,
  packingScript,
  packTask,
  pushTask,
  reuseTask,
  verifyTask,
  type Packed,
  type Task,
} from './tasks.ts'
import { makeWorld } from './world.ts'

/**
 * `npm run bench`: airgap beside other tools, on the same input and in the same run. Figures that are compared are
 * ratios; seconds belong to the machine.
 */
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', multiple: true, default: [] },
  },
})
const rounds = Number(options.rounds)
const isWanted = (task: string): boolean => options.only.length === 0 || options.only.includes(task)

const say = (text: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
}
const print = (text: string): void => {
  say('')
  process.stdout.write(`${text}\n`)
}

await using world = await makeWorld(say)
await mkdir(join(world.folder, 'tmp'))
const file = (name: string): string => join(world.folder, name)
const named = (kind: string): string[] => NAMES.map((_, i) => file(`${kind}-${i}`))
const packed: Packed = {
  bundle: file('bundle.tar'),
  lock: file('bench.lock'),
  archives: named('archive').map((name) => `${name}.tar`),
  layouts: named('layout'),
  exports: named('export').map((name) => `${name}.tar`),
  extracted: file('extracted'),
}
say('packing what the tasks work with …')
await measure(packingScript(packed, world), { env: environment(world.folder) })
const { size } = await stat(packed.bundle)
print(
  `Input: ${NAMES.length} images, ${(size / 1e9).toFixed(2)} GB as a bundle. Medians of ${rounds} interleaved runs.`,
)

const tasks: [string, () => Promise<Task> | Task][] = [
  ['pack', () => packTask('pack, all images', NAMES, world)],
  ['pack-large', () => packTask('pack, one layer of 1 GiB', [LARGE], world)],
  ['push', () => pushTask(packed, world)],
  ['verify', () => verifyTask(packed)],
  ['reuse', () => reuseTask(packed)],
]
for (const [id, make] of tasks) {
  if (!isWanted(id)) continue
  const task = await make()
  const results = await race(task.contenders, { rounds, folder: world.folder, say })
  print(tableOf(task.name, results))
  const left = await leftIn(file('tmp'))
  if (left.length > 0) print(`left in the folder for temporary files: ${left.join(', ')}`)
}
if (isWanted('single')) {
  const huge = await makeHugeBundle(world.folder)
  print('\nsingle commands, medians of 15')
  for (const [name, script] of [
    ['airgap --version', `${AIRGAP} --version`],
    ['airgap list nginx', `${AIRGAP} list nginx`],
    ['airgap inspect, 100 GB (sparse)', `${AIRGAP} inspect ${huge}`],
    ['floor: node -e 0', `'${process.execPath}' -e 0`],
  ] as const) {
    const runs: Measured[] = []
    for (let i = 0; i < 15; i++) runs.push(await measure(script, { env: environment(world.folder) }))
    print(
      `  ${name.padEnd(34)} ${(median(runs.map(({ seconds }) => seconds)) * 1000).toFixed(0).padStart(5)} ms`,
    )
  }
}

/** Ratio below 1: airgap took less time than that. */
function tableOf(name: string, results: readonly Result[]): string {
  const width = Math.max(...results.map((result) => result.name.length))
  const head = `\n${name.padEnd(width + 2)}   seconds   airgap/it   peak memory   written`
  const rows = results.map(
    (result) =>
      `  ${result.name.padEnd(width)}   ${result.seconds.toFixed(2).padStart(7)}   ${result.ratio
        .toFixed(2)
        .padStart(
          9,
        )}   ${`${(result.peakMemory / 1e6).toFixed(0)} MB`.padStart(11)}   ${`${(result.written / 1e9).toFixed(2)} GB`.padStart(7)}`,
  )
  return [head, ...rows].join('\n')
}
