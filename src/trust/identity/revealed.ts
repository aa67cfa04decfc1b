/**
 * Foreign text for a message: everything but plain ASCII as escapes, so that nothing in it can look like something else.
 */
export function revealed(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}
