/** `image ls`, `images`. */
import { UserError } from '../../base/errno.js';
import {
  createdAt,
  createdOf,
  globPattern,
  listImages,
  type ListedImage,
} from '../../store/images/list.js';
import { familiarRepository, parseReference } from '../../store/images/reference.js';
import { shortId } from '../../store/state/ids.js';
import { openStore, type Store } from '../../store/state/store.js';
import { command } from '../frame/command.js';
import {
  type Filters,
  filterBool,
  matchLabels,
  parseFilters,
  parseUntil,
} from '../frame/filters.js';
import { ago, goTime, humanSize } from '../frame/human.js';
import { type Columns, printList, type Row } from '../frame/table.js';

const NONE = '<none>';

const TABLE = {
  Repository: 'REPOSITORY',
  Tag: 'TAG',
  ID: 'IMAGE ID',
  CreatedSince: 'CREATED',
  Size: 'SIZE',
};

function columns(digests: boolean): Columns {
  const { Repository, Tag, ...rest } = TABLE;
  const table = digests ? { Repository, Tag, Digest: 'DIGEST', ...rest } : TABLE;
  const more = {
    Digest: 'DIGEST',
    CreatedAt: 'CREATED AT',
    VirtualSize: 'SIZE',
    Containers: 'CONTAINERS',
  };
  return { table, more, quiet: 'ID' };
}

interface Name {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

/** One line for each tag; for each digest without a tag; for an image without either. */
function namesIn({ tags, digests }: ListedImage, wantDigests: boolean): Name[] {
  const seen = new Map(
    digests.map((name) => [name.slice(0, name.indexOf('@')), name.slice(name.indexOf('@') + 1)]),
  );
  const names = tags.map((name): Name => {
    const reference = parseReference(name);
    const full = name.slice(0, name.lastIndexOf(':'));
    const digest = seen.get(full) ?? NONE;
    return { repository: familiarRepository(reference), tag: reference.tag ?? NONE, digest };
  });
  for (const [full, digest] of seen) {
    if (tags.some((name) => name.startsWith(`${full}:`))) continue;
    const repository = familiarRepository(parseReference(full));
    names.push({ repository, tag: NONE, digest: wantDigests ? digest : NONE });
  }
  return names.length > 0 ? names : [{ repository: NONE, tag: NONE, digest: NONE }];
}

function row(image: ListedImage, name: Name, whole: boolean): Row {
  const { id, record, config } = image;
  const size = humanSize(record.size);
  return {
    Containers: 'N/A',
    CreatedAt: goTime(config.created),
    CreatedSince: ago(config.created),
    Digest: name.digest,
    ID: whole ? id : shortId(id),
    Repository: name.repository,
    SharedSize: 'N/A',
    Size: size,
    Tag: name.tag,
    UniqueSize: 'N/A',
    VirtualSize: size,
  };
}

const FILTERS = ['dangling', 'label', 'before', 'since', 'until', 'reference'];

/** Whether an image passes every filter but `reference`. */
export function passes(store: Store, filters: Filters): (image: ListedImage) => boolean {
  const dangling = filterBool(filters, 'dangling');
  const before = (filters.get('before') ?? []).map((text) => createdOf(store, text));
  const since = (filters.get('since') ?? []).map((text) => createdOf(store, text));
  const until = (filters.get('until') ?? []).map((text) => parseUntil(text));
  return (image) =>
    (dangling === undefined || dangling === (image.tags.length === 0)) &&
    matchLabels(filters.get('label'), image.config.config?.Labels) &&
    before.every((at) => createdAt(image) < at) &&
    since.every((at) => createdAt(image) > at) &&
    until.every((at) => createdAt(image) < at);
}

/** `REPOSITORY[:TAG]` or a pattern; a pattern without a tag is for the repository alone. */
function matchName(patterns: readonly string[]): (name: Name) => boolean {
  const all = patterns.map(globPattern);
  return ({ repository, tag }) =>
    all.length === 0 ||
    all.some((each) => each.test(repository) || each.test(`${repository}:${tag}`));
}

export default command({
  usage: 'image ls [OPTIONS] [REPOSITORY[:TAG]]',
  about: 'List images',
  args: [0, 1],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Show all images (there are no intermediate ones)' },
    digests: { kind: 'bool', help: 'Show digests' },
    filter: {
      kind: 'list',
      short: 'f',
      value: 'filter',
      help: 'Filter output based on conditions provided',
    },
    format: { kind: 'string', help: "'table', 'table TEMPLATE', 'json', or 'TEMPLATE'" },
    'no-trunc': { kind: 'bool', help: "Don't truncate output" },
    quiet: { kind: 'bool', short: 'q', help: 'Only show image IDs' },
  },
  async run({ values, args, globals }) {
    const filters = parseFilters(values.filter, FILTERS);
    const patterns = [...(filters.get('reference') ?? []), ...args];
    if (args.some((text) => /[A-Z]/.test(text))) {
      throw new UserError('invalid reference format: repository name must be lowercase');
    }
    const store = await openStore(globals);
    const matches = matchName(patterns);
    const rows = listImages(store)
      .filter(passes(store, filters))
      .flatMap((image) =>
        namesIn(image, values.digests)
          .filter(matches)
          .map((name) => row(image, name, values['no-trunc'])),
      );
    const shown = values.quiet
      ? [...new Map(rows.map((each) => [each['ID'], each])).values()]
      : rows;
    printList(shown, columns(values.digests), { format: values.format, quiet: values.quiet });
    return 0;
  },
});
