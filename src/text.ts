/**
 * Characters that could move the cursor, change colours, hide text, turn its direction or pass for nothing at all:
 * controls, formats, surrogates, private and unassigned characters, every blank but the ordinary one, and what fonts are
 * told to show as nothing (Unicode's Default_Ignorable_Code_Point, the Hangul fillers among them). Those behind it show
 * nothing either, and no property says so: the Braille blank, two hieroglyphs, Khitan's filler, the null notehead. Newline
 * and tab are not among them.
 */
const HARMFUL =
  /[[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{13441}\u{13442}\u{16fe4}\u{1d159}]--[ \n\t]]/gv

/** Text that comes from outside (names, annotations, registries' answers), with every harmful character escaped. */
export function escapeForeign(text: string): string {
  return text.replaceAll(HARMFUL, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

/** For text that has to stay on one line. */
export function escapeLine(text: string): string {
  return escapeForeign(text).replaceAll('\n', '\\n').replaceAll('\t', ' ')
}

/** JSON, with harmful characters written as its own escapes. */
export function harmlessJson(json: string): string {
  return json.replaceAll(HARMFUL, (character) =>
    [...Array(character.length).keys()]
      .map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

const PLAIN = /^[\w./:@%+,-][\w./:@%+,=-]*$/

/**
 * A word of a command that is printed to be pasted into a shell, which must see this very word and nothing more: quoted
 * where it has to be. Nothing is left in it that a terminal would have to be spared; such characters, which only bash, zsh
 * and newer shells can read from escapes, are written as `$'\xe3\x85\xa4'`.
 */
export function shellWord(text: string): string {
  if (PLAIN.test(text)) return text
  if (escapeLine(text) === text) return `'${text.replaceAll("'", "'\\''")}'`
  const escaped = text.replaceAll(/[^\w./:@%+,=-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  )
  return `$'${escaped}'`
}
