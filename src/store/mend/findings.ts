/** What fsck has found. */

export interface Finding {
  /** `images/HEX`, `repositories/NAME:TAG`, `blobs/HEX` … as people read it. */
  readonly object: string;
  readonly problem: string;
  /** What was done about it; undefined: nothing could be, or nothing was to be (`--dry-run`). */
  mended?: string;
}

export class Findings {
  readonly all: Finding[] = [];
  /** False with --dry-run. */
  readonly mend: boolean;

  constructor(mend: boolean) {
    this.mend = mend;
  }

  /** Notes a problem, and mends it by `act`, whose result says what was done; undefined: nothing. */
  async add(
    object: string,
    problem: string,
    act: () => Promise<string | undefined> | string | undefined,
  ): Promise<void> {
    const finding: Finding = { object, problem };
    this.all.push(finding);
    if (!this.mend) return;
    const mended = await act();
    if (mended !== undefined) finding.mended = mended;
  }
}
