/** Help texts in 80 columns, as every terminal has. */

const COLUMNS = 80;

/** The text in lines of at most 80 columns; all but the first begin with `indent`. Ends with a newline. */
export function wrap(text: string, indent = '', columns = COLUMNS): string {
  const lines: string[] = [];
  let line = '';
  for (const word of words(text)) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = indent + word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return `${[...lines, line].join('\n')}\n`;
}

/** What is cut at blanks; several of them stay, as the words of a usage line stand apart. */
const words = (text: string): string[] => text.split(/(?<=\S) (?=\S)/);

/** `left` and, from column `width` on, `text`; on the next line when `left` is wider. */
export function inColumns(left: string, text: string, width: number): string {
  const indent = ' '.repeat(width);
  const fits = left.length + 2 <= width;
  const shown = wrap(`${fits ? left.padEnd(width) : indent}${text}`, indent);
  return fits ? shown : `${wrap(left, '    ')}${shown}`;
}
