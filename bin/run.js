#!/usr/bin/env node
// Runs on any Node far enough to say what it needs; so nothing may be imported before the check.
const [major, minor, patch] = process.versions.node.split('.').map(Number)
const atLeast = (m, n, p) => major === m && (minor > n || (minor === n && patch >= p))

if (major >= 26 || atLeast(24, 15, 0) || atLeast(22, 22, 2)) {
  // Built from `src` by `npm run build`: in a checkout, build again after a change.
  const { main } = await import('../dist/airgap.cjs')
  // Not awaited: when whoever reads our output has had enough of it (`airgap list … | head`), oclif waits for ever
  // for the rest to be written; the process then ends by itself, with the exit code that was set.
  void main(process.argv.slice(2))
} else {
  process.stderr.write(
    `airgap needs Node.js 22.22.2 or newer, 24.15.0 or newer, or 26; this is ${process.versions.node} (${process.execPath}).\n` +
      'In a checkout, `npx airgap` uses the Node.js that `npm ci` has installed beside it.\n',
  )
  process.exitCode = 2
}
