import { readOwnFile } from './own-files.ts'

/** This tool's name and version, as they stand in every bundle and receipt that it writes. */
export const TOOL: { name: string; version: string } = (() => {
  const { name, version } = JSON.parse(readOwnFile('package.json')) as { name: string; version: string }
  return { name, version }
})()
