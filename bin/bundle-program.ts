/**
 * Bundles the command line into a few files, which `bin/run.js` runs: loading some hundred modules one by one takes
 * longer than most commands.
 */
import { join } from 'node:path'
import { build, type Plugin } from 'esbuild'

const ROOT = join(import.meta.dirname, '..')

interface Part {
  /** One of our modules, or a package. Its importers load the file when they need it. */
  imported: string
  /** What the file is made from, if not the whole package. */
  from?: string
}

/**
 * The files and what they hold. Everything else is in the file that imports it. They are in `dist` itself, because
 * `src/own-files.ts` and `src/threads.ts` look for files from there.
 */
const PARTS: Record<string, Part> = {
  // All that `--version` needs.
  airgap: { imported: 'src/cli/main.ts' },
  'airgap-run': { imported: 'src/cli/run.ts' },
  'airgap-oclif': { imported: '@oclif/core', from: 'bin/program/oclif.js' },
  'airgap-undici': { imported: 'undici', from: 'bin/program/undici.js' },
  'airgap-yaml': { imported: 'yaml' },
  'airgap-sigstore-bundle': { imported: '@sigstore/bundle' },
  'airgap-sigstore-specs': { imported: '@sigstore/protobuf-specs' },
  'airgap-sigstore-verify': { imported: '@sigstore/verify' },
}

const FILES = new Map(Object.entries(PARTS).map(([name, { imported }]) => [imported, `./${name}.cjs`]))

const parts: Plugin = {
  name: 'parts',
  setup(bundling) {
    bundling.onResolve({ filter: /./ }, ({ kind, path, resolveDir }) => {
      if (kind === 'entry-point') return
      const imported = path.startsWith('.') ? join(resolveDir, path).slice(ROOT.length + 1) : path
      const file = FILES.get(imported)
      return file === undefined ? undefined : { path: file, external: true }
    })
  },
}

await build({
  absWorkingDir: ROOT,
  entryPoints: Object.entries(PARTS).map(([name, { imported, from }]) => ({
    in: from ?? imported,
    out: name,
  })),
  outdir: 'dist',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  target: 'node22.22',
  // In this format a module runs when it is first imported; so do Node's own.
  format: 'cjs',
  // A real `import()` would go through Node's other loader, which reads the whole file twice.
  supported: { 'dynamic-import': false },
  banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href" },
  define: { 'import.meta.url': 'importMetaUrl' },
  // oclif loads it only for commands in TypeScript.
  external: ['typescript'],
  plugins: [parts],
  legalComments: 'none',
  logLevel: 'warning',
})
