/** Flags whose value is a secret: `--pin 1234`, `-passin pass:x`, `--so-pin=…`, and `-p`, as pkcs11-tool has it. */
const SECRET_FLAG = /^(?:-p|--?[a-z-]*(?:pin|pass|password|passwd|passphrase|passin|secret))$/i
/** A secret inside of an argument: a PKCS #11 URI's, OpenSSL's way of naming a password. */
const SECRET_PART = /(?:[?&;]pin-value=|^pass:)([^?&;]+)/gi

/**
 * What among a program's arguments may be secret, by its form. Secrets should stand in files or variables, which the
 * documentation says; where one does not, programs that repeat their arguments in complaints must not spread it.
 */
export function secretsIn(args: readonly string[]): string[] {
  const found: string[] = []
  args.forEach((argument, index) => {
    const [flag = '', ...value] = argument.split('=')
    if (SECRET_FLAG.test(flag) && value.length > 0) found.push(value.join('='))
    if (SECRET_FLAG.test(args[index - 1] ?? '')) found.push(argument)
    for (const [, part] of argument.matchAll(SECRET_PART)) found.push(part ?? '')
  })
  return found.filter((secret) => secret !== '')
}
