/** `stratafs --help` and `--version`. */
import { readFileSync } from 'node:fs';
import { OPTION_TABLE } from '../options/table.js';

const USAGE = `Usage:
  stratafs -o OPTIONS MNT               mount a union of layers on MNT
  stratafs SOURCE MNT -o OPTIONS        the same, as mount(8) calls it; SOURCE is ignored
  stratafs unmount [-l|--lazy] MNT      unmount; --lazy detaches what is busy
  stratafs diff MNT                     what was added (A), changed (C) and deleted (D)
  stratafs diff --upper DIR --lower A[:B...]
                                        the same of a directory; both: --stat, -z, --json, --tar
  stratafs mounts [--json]              the live mounts
  stratafs stats MNT [--json]           requests that reached the engine, bytes, copy-ups
  stratafs pull, push, images, load, save, import, tag, rmi, history, image, layer, gc, fsck
                                        the store of images: docs/store.md, and --help of each
  stratafs explore IMAGE|MNT            which layer gives each file, what hides what, wasted bytes
  stratafs snapshotter [...]            storage for containerd, BuildKit and Docker; see its --help
  stratafs volume-plugin [...]          unions as volumes of Docker; see its --help
  stratafs host status|restart|stop     who serves mounts; restart: the next mount gets a new host,
                                        the old one keeps its mounts; stop --force unmounts them;
                                        --all: in other namespaces, too
  stratafs install|uninstall TARGET     set it up for systemd and for programs; -n: only show
  stratafs logs [-f]                    what hosts have logged, also those that have ended
  stratafs bench [...]                  compares drivers on this machine; see stratafs bench --help

Flags:
  -o OPTIONS           comma-separated, may be repeated; \\, and \\: stand for themselves
  -f, --foreground     serve in this process until unmounted; SIGINT and SIGTERM unmount
  -d, --debug          as --foreground, with one line per request on stderr
  -h, --help           this text
  -V, --version        the version

Options:
`;

const NOTES = `
Environment:
  STRATAFS_GRACE       seconds the host stays after its last mount (default 5)
  STRATAFS_NODE        the node program that runs the host
`;

const WIDTH = 22;

export function helpText(): string {
  const lines = OPTION_TABLE.flatMap(({ name, shown }) => {
    if (!shown) return [];
    const { usage: form = name, help } = shown;
    return form.length < WIDTH
      ? [`  ${form.padEnd(WIDTH)} ${help}`]
      : [`  ${form}`, `  ${' '.repeat(WIDTH)} ${help}`];
  });
  return `${USAGE}${lines.join('\n')}\n${NOTES}`;
}

export function versionText(): string {
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string };
  return `stratafs ${version}\n`;
}
