/** `stratafs install containerd`: the proxy plug-in, its units, and the lines that containerd needs. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { E, UserError } from '../../base/errno.js';
import { containerdConfig, containerdTables } from '../../driver/setup/containerd.js';
import { SNAPSHOTTER_UNIT } from '../../driver/setup/units.js';
import { errnoOf } from '../../sys/paths.js';
import type { PlannedEdit } from './edits.js';
import type { PlannedFile } from './files.js';
import { majorOf } from './program.js';
import { needRoot, unitPlan } from './services.js';
import { type InstallPlan, target } from './target.js';
import { type Setting, tableAt, tomlLines, tomlOf, withSettings } from './toml.js';

export const SNAPSHOTTER = 'stratafs-snapshotter';
export const SNAPSHOTTER_ROOT = '/var/lib/stratafs-snapshotter';
const CONFIG = '/etc/containerd/config.toml';
const DROP_INS = '/etc/containerd/conf.d';
const IMPORTS = `${DROP_INS}/*.toml`;
/** Of containerd 1.x; 2.x calls it images. */
const CRI = ['plugins', 'io.containerd.grpc.v1.cri', 'containerd'];

interface Wanted {
  /** 1 or 2: what of containerd there is. */
  readonly major: number;
  readonly cri: boolean;
}

const setup = ({ major, cri }: Wanted) =>
  ({
    version: major < 2 ? 2 : 3,
    socket: SNAPSHOTTER_UNIT.socket,
    root: SNAPSHOTTER_ROOT,
    diff: major >= 2,
    // Of 1.x an imported file would replace all of CRI's table: there the file itself is edited.
    cri: cri && major >= 2,
  }) as const;

/** A file that containerd imports: 1.x takes tables of proxy plug-ins whatever version the rest is. */
const dropIn = (wanted: Wanted): PlannedFile => ({
  path: join(DROP_INS, 'stratafs.toml'),
  content: (wanted.major < 2 ? containerdTables : containerdConfig)(setup(wanted)).trimStart(),
});

/** The words that bring `conf.d` in, and in 1.x CRI's snapshotter. */
const settingsOf = ({ major, cri }: Wanted): Setting[] => [
  { table: [], key: 'imports', value: [IMPORTS] },
  ...(cri && major < 2
    ? [
        { table: CRI, key: 'snapshotter', value: 'stratafs' },
        // The snapshotter learns then of which layer a snapshot is.
        { table: CRI, key: 'disable_snapshot_annotations', value: false },
      ]
    : []),
];

function edit(before: string | undefined, wanted: Wanted): string {
  const text = before ?? `version = ${setup(wanted).version}\n`;
  const there = tomlOf(CONFIG, text);
  const { imports, version } = there;
  if (imports !== undefined && !(Array.isArray(imports) && imports.includes(IMPORTS))) {
    throw new UserError(
      `${CONFIG} has imports of its own: add ${JSON.stringify(IMPORTS)} to them, and run this again`,
    );
  }
  if (wanted.cri && wanted.major < 2 && version !== 2) {
    throw new UserError(
      `${CONFIG} is not of version 2, which chooses the snapshotter of CRI: see containerd config default`,
    );
  }
  if (tableAt(['proxy_plugins', 'stratafs'], there)) {
    throw new UserError(`${CONFIG} has proxy_plugins.stratafs already: take that table out`);
  }
  const settings = settingsOf(wanted);
  return withSettings(CONFIG, text, imports === undefined ? settings : settings.slice(1));
}

/** What containerd needs, for Docker's target too. */
export function containerdPlan(wanted: Wanted): InstallPlan {
  const units = unitPlan(SNAPSHOTTER, SNAPSHOTTER_UNIT);
  const configEdit: PlannedEdit = {
    path: CONFIG,
    edit: (before) => edit(before, wanted),
    lines: tomlLines(settingsOf(wanted)),
  };
  return {
    ...units,
    files: [...units.files, dropIn(wanted)],
    edits: [configEdit],
    directories: [DROP_INS, '/etc/containerd'],
    notes: [...(units.notes ?? []), 'restart containerd: ctr plugins ls shows stratafs then'],
  };
}

/** Throws UserError while containerd has images or containers here. */
export function refuseWithSnapshots(force: boolean): void {
  let count = 0;
  try {
    const names = readdirSync(join(SNAPSHOTTER_ROOT, 'state'));
    count = names.filter((name) => name.endsWith('.json')).length;
  } catch (error) {
    if (errnoOf(error) !== E.ENOENT) throw error;
  }
  if (count === 0 || force) return;
  throw new UserError(
    `${SNAPSHOTTER_ROOT} has ${count} ${count === 1 ? 'snapshot' : 'snapshots'} of images and containers, which could not be used any more: remove these first, or uninstall with --force`,
  );
}

/** 1 or 2; throws UserError where it cannot be told. */
function containerdMajor(given: number | undefined): number {
  const major = given ?? majorOf('containerd');
  if (major === 1 || major === 2) return major;
  throw new UserError(
    major === undefined
      ? 'containerd is not on PATH, so its version is not known: say --engine 1 or --engine 2'
      : `containerd ${major} is not known: say --engine 1 or --engine 2`,
  );
}

export const ENGINE_FLAGS = {
  force: { kind: 'bool', help: 'Of uninstall: even while there are images and containers' },
  user: { kind: 'bool', help: 'Refused: a rootless engine has its plug-ins inside its namespaces' },
} as const;

/** Throws UserError. */
export function refuseUser(user: boolean, why: string): void {
  if (user) throw new UserError(why);
}

export const ROOTLESS =
  'a rootless containerd needs the snapshotter inside its own namespaces, where no unit of ours is: docs/engines.md has the command';

export const containerd = target({
  name: 'containerd',
  about: 'Be a snapshotter of containerd: the proxy plug-in, its units and configuration',
  flags: {
    ...ENGINE_FLAGS,
    cri: { kind: 'bool', help: "Kubernetes' containers use it (CRI)" },
    engine: {
      kind: 'int',
      value: '1|2',
      help: 'The version of containerd, where it is not on PATH',
    },
  },
  plan({ user, cri, engine }) {
    refuseUser(user, ROOTLESS);
    needRoot('the configuration of containerd');
    return containerdPlan({ major: containerdMajor(engine), cri });
  },
  mayGo({ force }) {
    refuseWithSnapshots(force);
  },
});
