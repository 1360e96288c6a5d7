/** `commit`: an image from what a container has changed. */
import { UserError } from '../../base/errno.js';
import { commitContainer } from '../../store/builds/commit.js';
import { findContainer } from '../../store/containers/records.js';
import { parseReference, withDefaultTag } from '../../store/images/reference.js';
import { openStore } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import { print } from '../frame/output.js';

export default command({
  usage: 'commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]',
  about: "Create a new image from a container's changes",
  args: [1, 2],
  flags: {
    author: { kind: 'string', short: 'a', help: 'Author (e.g., "John Doe <john@example.com>")' },
    change: { kind: 'list', short: 'c', help: 'Apply Dockerfile instruction to the created image' },
    message: { kind: 'string', short: 'm', help: 'Commit message' },
    pause: {
      kind: 'bool',
      short: 'p',
      on: true,
      help: 'Pause container during commit (default true)',
    },
  },
  async run({ values, args: [name, repository], globals }) {
    const reference = repository ? parseReference(repository) : undefined;
    if (reference?.digest !== undefined) throw new UserError('cannot commit to digest reference');
    const store = await openStore(globals);
    const id = await commitContainer(store, findContainer(store, name), {
      author: values.author,
      message: values.message,
      changes: values.change,
      pause: values.pause,
      reference: reference && withDefaultTag(reference),
    });
    print(`${id}\n`);
    return 0;
  },
});
