/** Writes to standard output, for what runs without a command. */
export function print(text: string): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // The reader closed the pipe.
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  process.stdout.write(text)
}
