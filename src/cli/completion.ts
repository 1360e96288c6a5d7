/** `stratafs completion SHELL`: words and flags for bash, zsh and fish, from the tables of the commands. */
import { UsageError } from '../base/errno.js';
import { command } from './frame/command.js';
import type { Flag } from './frame/flags.js';
import { print } from './frame/output.js';
import { commandTree, type Leaf, type Tree } from './tree.js';

/** Commands whose argument is a mounted union. */
const OF_MOUNTS = ['unmount', 'umount', 'diff', 'stats'];

const flagWords = ({ flags }: Leaf): string[] =>
  Object.entries(flags).flatMap(([name, { short }]) => [
    `--${name}`,
    ...(short === undefined ? [] : [`-${short}`]),
  ]);

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** A function that prints the mount points; what mountinfo escapes, printf decodes. */
const MOUNT_POINTS = `awk '$9 == "fuse.stratafs" || $8 == "fuse.stratafs" || $10 == "fuse.stratafs" {print $5}' /proc/self/mountinfo 2>/dev/null | while IFS= read -r line; do printf '%b\\n' "$line"; done`;

function bash({ leaves, below }: Tree): string {
  const cases = [
    ...Object.entries(below).map(
      ([above, words]) => `    ${quoted(above)}) words=${quoted(words.join(' '))} ;;`,
    ),
    ...leaves.map(
      (leaf) => `    ${quoted(leaf.name)}) words=${quoted(flagWords(leaf).join(' '))} ;;`,
    ),
  ];
  return `# bash completion of stratafs, made by: stratafs completion bash
_stratafs() {
  local current=\${COMP_WORDS[COMP_CWORD]} command= words= i word
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in -*) continue ;; esac
    _stratafs_words "\${command:+$command }$word" || break
    command=\${command:+$command }$word
  done
  _stratafs_words "$command"
  case $command in
  ${OF_MOUNTS.join(' | ')}) [[ $current == -* ]] || words=$(_stratafs_mounts) ;;
  esac
  if [[ $command == '' || $current == -* || $words != -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
  ((\${#COMPREPLY[@]} > 0)) || mapfile -t COMPREPLY < <(compgen -f -- "$current")
}
_stratafs_mounts() {
  ${MOUNT_POINTS}
}
_stratafs_words() {
  case $1 in
${cases.join('\n')}
    *) return 1 ;;
  esac
}
complete -o filenames -F _stratafs stratafs
`;
}

/** zsh reads a colon as the end of what is completed, brackets as those of the description. */
const described = (name: string, text: string): string =>
  quoted(`${name.replaceAll(':', '\\:')}:${text.replaceAll(':', '\\:')}`);

function zshFlag(name: string, { short, help, kind }: Flag): string {
  const text = help.replace(/[[\]:\\]/g, (character) => `\\${character}`);
  const value =
    kind === 'bool' ? '' : kind === 'path' || kind === 'paths' ? ':path:_files' : ':value:';
  const many = kind === 'list' || kind === 'paths' ? '*' : '';
  const form = (flag: string): string => quoted(`${many}${flag}[${text}]${value}`);
  return [form(`--${name}`), ...(short === undefined ? [] : [form(`-${short}`)])].join(' ');
}

function zsh({ leaves, below, abouts }: Tree): string {
  const groups = Object.entries(below).map(([above, words]) => {
    const list = words.map((word) =>
      described(word, abouts[above === '' ? word : `${above} ${word}`]),
    );
    return `    ${quoted(above)}) list=(${list.join(' ')}); _describe command list ;;`;
  });
  const commands = leaves.map((leaf) => {
    const flags = Object.entries(leaf.flags).map(([name, flag]) => zshFlag(name, flag));
    const rest = OF_MOUNTS.includes(leaf.name) ? "'*:mount:_stratafs_mounts'" : "'*:file:_files'";
    return `    ${quoted(leaf.name)}) _arguments ${[...flags, rest].join(' ')} ;;`;
  });
  return `#compdef stratafs
# zsh completion of stratafs, made by: stratafs completion zsh
_stratafs_mounts() {
  local -a points
  points=(\${(f)"$(${MOUNT_POINTS})"})
  compadd -a points
}
_stratafs() {
  local -a list
  local name=
  case "$words[2] $words[3]" in
${Object.keys(below)
  .filter((above) => above !== '')
  .map(
    (above) =>
      `    ${quoted(above)}' '*) if ((CURRENT > 3)); then name="$words[2] $words[3]"; shift 2 words; ((CURRENT -= 2)); else name="$words[2]"; fi ;;`,
  )
  .join('\n')}
    *) if ((CURRENT > 2)); then name="$words[2]"; shift words; ((CURRENT--)); fi ;;
  esac
  case $name in
${[...groups, ...commands].join('\n')}
  esac
}
if [ "$funcstack[1]" = _stratafs ]; then _stratafs "$@"; else compdef _stratafs stratafs; fi
`;
}

function fish({ leaves, below, abouts }: Tree): string {
  const seen = (name: string): string =>
    name === ''
      ? '__fish_use_subcommand'
      : name
          .split(' ')
          .map((word) => `__fish_seen_subcommand_from ${word}`)
          .join('; and ');
  const words = Object.entries(below).flatMap(([above, list]) =>
    list.map((word) => {
      const about = abouts[above === '' ? word : `${above} ${word}`];
      return `complete -c stratafs -n ${quoted(seen(above))} -a ${word} -d ${quoted(about)}`;
    }),
  );
  const flags = leaves.flatMap((leaf) =>
    Object.entries(leaf.flags).map(([name, { short, help, kind }]) => {
      const one = short === undefined ? '' : ` -s ${short}`;
      const value = kind === 'bool' ? '' : ' -r';
      return `complete -c stratafs -n ${quoted(seen(leaf.name))} -l ${name}${one}${value} -d ${quoted(help)}`;
    }),
  );
  const mounts = `complete -c stratafs -f -n ${quoted(`__fish_seen_subcommand_from ${OF_MOUNTS.join(' ')}`)} -a "(__stratafs_mounts)"`;
  return `# fish completion of stratafs, made by: stratafs completion fish
function __stratafs_mounts
  awk '$9 == "fuse.stratafs" || $8 == "fuse.stratafs" || $10 == "fuse.stratafs" {print $5}' /proc/self/mountinfo
end
${[...words, ...flags, mounts].join('\n')}
`;
}

const SHELLS = { bash, zsh, fish };

/** The script for a shell. */
export async function completionText(shell: keyof typeof SHELLS): Promise<string> {
  return SHELLS[shell](await commandTree());
}

export const completion = command({
  usage: 'completion {bash|zsh|fish}',
  about: 'Print the completions for a shell',
  flags: {},
  args: [1, 1],
  plain: true,
  notes: [
    'bash: source <(stratafs completion bash). zsh: save it as _stratafs in a directory of $fpath. fish: stratafs completion fish | source. The Debian package installs all three.',
  ],
  async run({ args: [shell] }) {
    if (shell !== 'bash' && shell !== 'zsh' && shell !== 'fish') {
      throw new UsageError(`'${shell}' is no shell with completions here: bash, zsh or fish`);
    }
    print(await completionText(shell));
    return 0;
  },
});
