/**
 * The table of docs/semantics.md as data: each row is a question that a script answers, by its
 * exit code, on every driver. `test/clients/semantics.test.ts` asks them all and compares the
 * answers with this list and the list with the page.
 */
export interface Question {
  /** The page's words. */
  readonly text: string;
  /** Run in the lower layer before the mount; $MAPPED is the program below, ../top the layer above. */
  readonly prepare: string;
  /** Run in the mount; exit code 0 means yes. $LOWER, $UPPER and $DIR (the scratch directory) are set. */
  readonly ask: string;
  /** Run in the mount before it is unmounted and mounted again for `ask`. */
  readonly before?: string;
  /** The upper is a tmpfs of 16 MiB. */
  readonly smallUpper?: boolean;
  /** That many empty layers lie below. */
  readonly moreLayers?: number;
  /** stratafs, kernel overlayfs with default options, fuse-overlayfs 1.10. */
  readonly answers: readonly [Answer, Answer, Answer];
}

export type Answer = 'yes' | 'no';

const BIG =
  'truncate -s 64M big; head -c 40M /dev/zero | tr "\\0" x | dd of=big conv=notrunc status=none';

/** Maps a file shared, changes it through another descriptor, and looks at the mapping. */
export const MAPPED = `
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int count, char **words) {
  int in = open(words[count - 1], O_RDONLY);
  const volatile char *map = mmap(0, 4096, PROT_READ, MAP_SHARED, in, 0);
  if (map == MAP_FAILED || map[0] != 'o') return 2;
  int out = open(words[count - 1], O_WRONLY);
  if (write(out, "n", 1) != 1 || fsync(out) != 0) return 3;
  return map[0] == 'n' ? 0 : 1;
}`;

export const QUESTIONS: readonly Question[] = [
  {
    text: 'a mapping made before the first change shows the change',
    prepare: 'echo old > f; gcc -o "$DIR/mapped" -xc - <<< "$MAPPED"',
    ask: '"$DIR/mapped" f',
    answers: ['yes', 'no', 'yes'],
  },
  {
    text: 'a lower file larger than the free space can be removed',
    prepare: BIG,
    smallUpper: true,
    ask: 'rm big; [ ! -e big ]',
    answers: ['yes', 'yes', 'no'],
  },
  {
    text: 'a lower file larger than the free space can be truncated and written anew',
    prepare: BIG,
    smallUpper: true,
    ask: 'echo small > big; [ "$(cat big)" = small ]',
    answers: ['yes', 'yes', 'no'],
  },
  {
    text: 'the mode and owner of such a file can be changed',
    prepare: BIG,
    smallUpper: true,
    ask: 'chmod 600 big && chown 1:1 big && [ "$(stat -c %a%u big)" = 6001 ]',
    answers: ['yes', 'no', 'no'],
  },
  {
    text: 'a sparse file stays sparse when it is copied up',
    prepare: 'truncate -s 64M sparse; echo end >> sparse',
    ask: 'echo more >> sparse; [ "$(stat -c %b "$UPPER/sparse")" -lt 1000 ]',
    answers: ['yes', 'yes', 'no'],
  },
  {
    text: 'names of 255 bytes can be made and removed',
    prepare: ': > "$(printf "n%.0s" $(seq 255))"',
    ask: 'n=$(printf "n%.0s" $(seq 255)); rm "$n"; m=${n//n/m}; : > "$m"; [ "$(ls)" = "$m" ]',
    answers: ['yes', 'yes', 'no'],
  },
  {
    text: 'hard links of a lower layer stay one file after a change',
    prepare: 'echo x > one; ln one two',
    ask: 'echo y >> one; cmp one two',
    answers: ['yes', 'no', 'yes'],
  },
  {
    text: 'st_ino stays when a file is copied up',
    prepare: 'echo x > f',
    ask: 'i=$(stat -c %i f); echo y >> f; [ "$(stat -c %i f)" = "$i" ]',
    answers: ['yes', 'yes', 'yes'],
  },
  {
    text: 'st_ino of a copied-up file stays over a remount',
    prepare: 'echo x > f',
    before: 'stat -c %i f > "$DIR/ino"; echo y >> f',
    ask: '[ "$(stat -c %i f)" = "$(cat "$DIR/ino")" ]',
    answers: ['yes', 'yes', 'no'],
  },
  {
    text: 'the upper is in the format of kernel overlayfs and nothing else is in it',
    prepare: 'mkdir d; echo x > d/f',
    ask: 'rm -r d; mkdir d; [ -z "$(ls -A "$UPPER/d")" ]; getfattr -n trusted.overlay.opaque "$UPPER/d"',
    answers: ['yes', 'yes', 'no'],
  },
  {
    text: '`.wh.` whiteouts of OCI layers hide what lies below',
    prepare: 'mkdir -p ../top ; echo x > f; : > ../top/.wh.f',
    ask: '[ ! -e f ] && [ -z "$(ls -A)" ]',
    answers: ['yes', 'no', 'yes'],
  },
  {
    text: 'xattr whiteouts of kernel overlayfs (6.7) hide what lies below',
    prepare:
      'echo x > f; setfattr -n trusted.overlay.opaque -v x ../top; : > ../top/f; setfattr -n trusted.overlay.whiteout -v y ../top/f',
    ask: '[ ! -e f ] && [ -z "$(ls -A)" ]',
    answers: ['yes', 'yes', 'no'],
  },
  {
    text: 'a directory of a lower layer can be renamed by rename(2)',
    prepare: 'mkdir d; echo x > d/f',
    ask: 'strace -qq -e trace=renameat2,renameat,rename -o "$DIR/trace" mv d e; ! grep -q EXDEV "$DIR/trace"',
    answers: ['yes', 'no', 'no'],
  },
  {
    text: 'a union of 600 layers can be mounted',
    prepare: 'echo x > f',
    moreLayers: 600,
    ask: '[ -e f ]',
    answers: ['yes', 'no', 'yes'],
  },
];
