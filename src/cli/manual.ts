/** The page stratafs(8), in man(7), from the tables of the commands and the mount options. */
import { OPTION_TABLE } from '../options/table.js';
import { usageLine } from './frame/command.js';
import type { Flag } from './frame/flags.js';
import { ENVIRONMENT, sections } from './help.js';
import { commandTree, type Leaf } from './tree.js';

/** Text as roff: a backslash, a hyphen, and a point or quote at the start of a line mean more there. */
const roff = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');

const bold = (text: string): string => `\\fB${roff(text)}\\fR`;

/** The table's own marks: `code` is bold, a link is its text. */
const prose = (text: string): string =>
  text
    .replaceAll(/\[([^\]]+)\]\([^)]*\)/g, '$1')
    .split('`')
    .map((part, i) => (i % 2 === 1 ? bold(part) : roff(part)))
    .join('');

const entry = (term: string, text: string): string => `.TP\n${term}\n${text}\n`;

function flagEntry(name: string, { short, kind, value, help }: Flag): string {
  const form = `${short === undefined ? '' : `${bold(`-${short}`)}, `}${bold(`--${name}`)}`;
  const argument = kind === 'bool' ? '' : ` \\fI${roff(value ?? kind.replace(/s$/, ''))}\\fR`;
  return entry(form + argument, roff(help));
}

function commandEntry({ name, spec, flags }: Leaf): string {
  const own = Object.entries(flags).filter(([flag]) => !['help', 'root', 'no-sync'].includes(flag));
  const notes = (spec.notes ?? []).map((note) => `.PP\n${roff(note)}\n`).join('');
  const list = own.map(([flag, row]) => flagEntry(flag, row)).join('');
  return `.SS ${roff(`stratafs ${usageLine(name, spec.usage)}`)}\n${roff(spec.about)}.\n${notes}${list}`;
}

const EXIT = `.TP
.B 0
It worked. Of a mount: the mount is live.
.TP
.B 1
It failed, and one sentence on standard error says why.
.TP
.B 2
The command line is wrong: a word, a flag, too many arguments. The commands of the store exit as Docker's do: 125 for a wrong flag.
`;

const EXAMPLES = `.nf
stratafs \\-o lowerdir=/a:/b,upperdir=/up,workdir=/work /mnt
stratafs diff /mnt
stratafs unmount /mnt
.fi
.PP
In /etc/fstab:
.PP
.nf
stratafs /mnt fuse.stratafs lowerdir=/a:/b,upperdir=/up,workdir=/work 0 0
.fi
`;

/** The page, for one version of the package. */
export async function manualText(version: string): Promise<string> {
  const { leaves } = await commandTree();
  const byWord = (word: string): Leaf[] => leaves.filter(({ name }) => name.split(' ')[0] === word);
  const commands = Object.entries(sections()).map(
    ([title, words]) =>
      `.SH ${title.toUpperCase()}\n${words.flatMap(byWord).map(commandEntry).join('')}`,
  );
  const options = OPTION_TABLE.flatMap(({ name, shown }) =>
    shown ? [entry(bold(shown.usage ?? name), prose(shown.docs ?? shown.help))] : [],
  );
  const environment = Object.entries(ENVIRONMENT).map(([name, text]) =>
    entry(bold(name), roff(text)),
  );
  return `.TH STRATAFS 8 "" "stratafs ${version}" "System administration"
.SH NAME
stratafs \\- union mount for container root file systems, and a store of images
.SH SYNOPSIS
${bold('stratafs')} ${bold('-o')} \\fIOPTIONS\\fR \\fIMNT\\fR
.br
${bold('stratafs')} \\fICOMMAND\\fR [\\fIARG\\fR...]
.SH DESCRIPTION
A union shows read-only layer directories and one read-write upper directory as one tree, in the
on\\-disk format of kernel overlayfs. One resident host process serves all mounts of a user; it starts
with the first mount and ends some seconds after the last.
${commands.join('')}.SH MOUNT OPTIONS
${options.join('')}.SH EXIT STATUS
${EXIT}.SH ENVIRONMENT
${environment.join('')}.SH EXAMPLES
${EXAMPLES}.SH SEE ALSO
.BR mount (8),
.BR umount (8),
.BR fusermount3 (1)
`;
}
