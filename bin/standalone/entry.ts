import { main } from '../../src/cli/main.ts'
import { readPackageFile } from '../../src/own-files.ts'
import { LICENSES } from './names.ts'

// What the single executable runs. It carries the licences of what it is made of, and prints them.
void main(process.argv.slice(2), { '--licenses': () => readPackageFile(LICENSES) })
