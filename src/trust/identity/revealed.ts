/**
 * Text from outside for a message. Everything except plain ASCII is escaped, so that nothing can look like something
 * else.
 */
export function revealed(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}
