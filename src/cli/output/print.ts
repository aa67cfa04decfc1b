/** Writes a text to standard output, where no command is there to do it. */
export function print(text: string): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever reads has had enough.
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  process.stdout.write(text)
}
