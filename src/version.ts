import { readFileSync } from 'node:fs'

/** This tool's name and version, as they stand in every bundle and receipt that it writes. */
export const TOOL: { name: string; version: string } = (() => {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  const { name, version } = JSON.parse(text) as { name: string; version: string }
  return { name, version }
})()
