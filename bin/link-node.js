// Part of `npm ci`; runs on any Node.js. Makes node_modules/.bin/node the one of the locked package for this machine:
// npm 10 finds two packages in the lock file that bring a program of this name, and then links neither.
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'

const name = `node-${process.platform}-${process.arch}`
if (existsSync(`node_modules/${name}/bin/node`)) {
  mkdirSync('node_modules/.bin', { recursive: true })
  // Never without one: other processes of this checkout may be running.
  const fresh = `node_modules/.bin/.node-${process.pid}`
  rmSync(fresh, { force: true })
  symlinkSync(`../${name}/bin/node`, fresh)
  renameSync(fresh, 'node_modules/.bin/node')
} else {
  process.stderr.write(
    `node_modules has no ${name}; this checkout runs on the Node.js that is in PATH (here ${process.version}).\n`,
  )
}
