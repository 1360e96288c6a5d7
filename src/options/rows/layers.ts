/** Which directories are mounted. */
import * as kind from '../kinds.js';
import { absolute, unescape } from '../list.js';
import { addDataLayer, addLower, takeLowers } from '../lowers.js';

export const layers: kind.Rows = [
  kind.path('lowerdir', takeLowers, {
    usage: 'lowerdir=A[:B...][::D...]',
    help: 'read-only layers, topmost first; required; D: data-only, reached by redirects',
    docs:
      'read-only layers, topmost first; required; relative paths start at the current directory. ' +
      '`D`: data-only, not merged; an absolute redirect of a metadata-only copy in a lower leads ' +
      'there',
  }),
  kind.path('lowerdir+', addLower, {
    usage: 'lowerdir+=A, datadir+=D',
    help: 'one more layer below those before it, instead of lowerdir',
    docs: 'one more layer below those before it, instead of `lowerdir`; a colon needs no escape',
  }),
  kind.path('datadir+', addDataLayer),
  kind.path(
    'upperdir',
    (into, value, cwd) => {
      into.upper = absolute(unescape(value), cwd);
    },
    {
      usage: 'upperdir=DIR',
      help: 'where changes go; without it the mount is read-only',
    },
  ),
  kind.path(
    'workdir',
    (into, value, cwd) => {
      into.work = absolute(unescape(value), cwd);
    },
    {
      usage: 'workdir=DIR',
      help: 'empty directory on the file system of upperdir; required with it',
      docs: 'empty directory on the file system of `upperdir`; required with it',
    },
  ),
  kind.file('optionsfile', {
    usage: 'optionsfile=FILE',
    help: 'more options from a file: as after -o, also one a line',
    docs:
      'more options from a file (at most 16 MiB): as after `-o`, a newline counting as a comma; ' +
      'relative paths start at the current directory',
  }),
];
