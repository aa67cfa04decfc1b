import { main } from '../../src/cli/main.ts'
import { readOwnFile } from '../../src/own-files.ts'
import { LICENSES } from './names.ts'

// What the single executable runs. It carries the licences of what it is made of, and prints them.
const args = process.argv.slice(2)
if (args.length === 1 && args[0] === '--licenses') process.stdout.write(readOwnFile(LICENSES))
else void main(args)
