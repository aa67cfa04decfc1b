#!/usr/bin/env node
// Runs on any Node far enough to say what it needs; so nothing may be imported before the check.
const [major, minor, patch] = process.versions.node.split('.').map(Number)
const atLeast = (m, n, p) => major === m && (minor > n || (minor === n && patch >= p))

if (major >= 26 || atLeast(24, 15, 0) || atLeast(22, 22, 2)) {
  const words = process.argv
  const isJsonLog =
    words.includes('--log-format=json') ||
    (words.includes('--log-format') && words[words.indexOf('--log-format') + 1] === 'json')
  const die = (exitCode, code, message, stack) => {
    const line = {
      time: new Date().toISOString(),
      level: 'error',
      event: 'error',
      message,
      code,
      exitCode,
      stack,
    }
    process.stderr.write(`${isJsonLog ? JSON.stringify(line) : (stack ?? `Error: ${message}`)}\n`)
    process.exit(exitCode)
  }
  process.on('uncaughtException', (error) => {
    if (error.syscall === 'write') {
      die(7, 'FILE', `cannot write to standard output or standard error: ${error.message}`)
    }
    die(1, 'INTERNAL', `unexpected fault: ${error.message}`, error.stack)
  })
  const { execute } = await import('@oclif/core')
  const args = process.argv.slice(2)
  // Not awaited: when whoever reads our output has had enough of it (`airgap list … | head`), oclif waits for ever
  // for the rest to be written; the process then ends by itself, with the exit code that was set.
  // `airgap help pack` is `airgap pack --help`, as many tools have it.
  void execute({ dir: import.meta.url, args: args[0] === 'help' ? [...args.slice(1), '--help'] : args })
} else {
  process.stderr.write(
    `airgap needs Node.js 22.22.2 or newer, 24.15.0 or newer, or 26; this is ${process.versions.node} (${process.execPath}).\n` +
      'In a checkout, `npx airgap` uses the Node.js that `npm ci` has installed beside it.\n',
  )
  process.exitCode = 2
}
