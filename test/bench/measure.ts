import { once } from 'node:events'
import { readFileSync, readdirSync } from 'node:fs'
import { ended, start, type RunOptions } from '../e2e/parts/processes.ts'

/** What one run of a command took. */
export interface Measured {
  seconds: number
  /** Bytes: the greatest resident size of any one process of it. */
  peakMemory: number
  /** Bytes that its processes gave to the file system. */
  written: number
}

const SAMPLE_MS = 20

/**
 * Runs a shell command to its end, and watches its processes through /proc. Memory is the kernel's own high-water
 * mark and bytes written its own count, so that only the last moment of a process can be missed.
 * @throws Error with its output, when it fails.
 */
export async function measure(script: string, options: RunOptions = {}): Promise<Measured> {
  const seen = new Map<number, { peak: number; written: number }>()
  const began = performance.now()
  const child = start('bash', ['-c', `set -euo pipefail\n${script}`], options)
  await once(child, 'spawn')
  const root = child.pid ?? 0
  const timer = setInterval(() => {
    for (const pid of treeOf(root)) sample(pid, seen)
  }, SAMPLE_MS)
  const { code, signal, stdout, stderr } = await ended(child)
  const seconds = (performance.now() - began) / 1000
  clearInterval(timer)
  if (code !== 0) throw new Error(`${script}\nended with ${code ?? signal}\n${stdout}${stderr}`)
  const all = [...seen.values()]
  return {
    seconds,
    peakMemory: Math.max(0, ...all.map(({ peak }) => peak)),
    written: all.reduce((sum, { written }) => sum + written, 0),
  }
}

/** A process and its descendants. */
function treeOf(root: number): number[] {
  const found = [root]
  for (const pid of found) {
    try {
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1')
        found.push(...children.split(' ').filter(Boolean).map(Number))
      }
    } catch {
      // It has ended since.
    }
  }
  return found
}

function sample(pid: number, seen: Map<number, { peak: number; written: number }>): void {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const io = readFileSync(`/proc/${pid}/io`, 'latin1')
    const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
    const written = Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? 0)
    // A process that is about to end has no memory any more.
    const before = seen.get(pid)
    seen.set(pid, {
      peak: Math.max(peak, before?.peak ?? 0),
      written: Math.max(written, before?.written ?? 0),
    })
  } catch {
    // It has ended since.
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}
