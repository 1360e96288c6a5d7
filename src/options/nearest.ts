/** Finds the word that somebody meant who mistyped it. */

/** Letters that may be wrong: one in a short word, two in a longer one. */
const allowed = (word: string): number => (word.length < 5 ? 1 : 2);

/** The word of `words` that `typed` is nearest to; undefined when none is near. */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = allowed(typed) + 1;
  for (const word of words) {
    const distance = editDistance(typed, word, least);
    if (distance < least) [best, least] = [word, distance];
  }
  return best;
}

/** Letters to insert, leave out or replace (Levenshtein); `bound` or more is not told apart. */
function editDistance(a: string, b: string, bound: number): number {
  if (Math.abs(a.length - b.length) >= bound) return bound;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
