/** Prints the demonstration for a reader: steps with their times, tables in columns. */
const WIDTH = 78;

export class Report {
  private readonly bold: boolean;

  constructor() {
    this.bold = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  }

  line(text = ''): void {
    process.stdout.write(`${text}\n`);
  }

  /** A heading; with a time in milliseconds at its right end. */
  heading(text: string, ms?: number): void {
    const time = ms === undefined ? '' : milliseconds(ms);
    const padded = time === '' ? text : text.padEnd(WIDTH - time.length) + time;
    this.line();
    this.line(this.bold ? `\x1b[1m${padded}\x1b[0m` : padded);
  }

  /** Rows in columns, indented, as wide as their longest cell. */
  table(rows: readonly (readonly string[])[]): void {
    const widths: number[] = [];
    for (const row of rows) {
      row.forEach((cell, i) => {
        widths[i] = Math.max(widths[i] ?? 0, cell.length);
      });
    }
    for (const row of rows) {
      this.line(`  ${row.map((cell, i) => cell.padEnd(widths[i])).join('  ')}`.trimEnd());
    }
  }

  /** What a script printed, behind the script. */
  session(script: string, output: string): void {
    for (const command of script.split('\n')) this.line(`  # ${command}`);
    const text = output.trimEnd();
    if (text !== '') for (const line of text.split('\n')) this.line(`    ${line}`);
  }
}

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
