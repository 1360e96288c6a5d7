import tseslint from 'typescript-eslint';

/**
 * The rings of src/: what each folder may import besides itself. Imports point one way, so that
 * the engine can be read, tested and replaced without what stands above it.
 */
const leaves = ['base', 'protocol'];
const rings = {
  base: [],
  protocol: ['base'],
  sys: leaves,
  layer: [...leaves, 'sys'],
  archive: [...leaves, 'sys', 'layer'],
  overlay: [...leaves, 'sys', 'layer'],
  wire: [...leaves, 'sys'],
  diff: [...leaves, 'sys', 'layer', 'overlay'],
  fuse: [...leaves, 'sys', 'layer', 'overlay', 'wire'],
  options: [...leaves, 'sys', 'overlay', 'wire'],
  host: [...leaves, 'sys', 'layer', 'overlay', 'wire', 'diff', 'fuse', 'options'],
  client: [...leaves, 'sys', 'wire', 'options', 'diff'],
  store: [...leaves, 'sys', 'layer', 'archive', 'wire', 'client'],
  driver: [...leaves, 'sys', 'layer', 'archive', 'wire', 'client', 'store'],
};
rings.cli = Object.keys(rings);

/**
 * The rooms of src/overlay, innermost first. A room imports only rooms before it. The first five know
 * no mounted overlay: they import nothing of src/overlay itself but `hit` and `spec`. The others work
 * on one, and import all of src/overlay itself but `open`.
 */
const rooms = [
  'inodes',
  'listing',
  'shown',
  'data',
  'workdir',
  'lookup',
  'copyUp',
  'access',
  'change',
];
const WITHOUT_OVERLAY = 5;

/**
 * The files of src/overlay itself, innermost first: a file imports only files before it, and, but for
 * `open`, only rooms that know no mounted overlay.
 */
const files = ['hit', 'spec', 'remembered', 'plane', 'state', 'overlay', 'guard', 'answer', 'open'];

const addonLoaders = {
  name: 'node:module',
  message: 'Only src/sys/native.ts loads the addon.',
};

function ringPatterns(folder, allowed) {
  const others = Object.keys(rings).filter((name) => name !== folder && !allowed.includes(name));
  const patterns = [
    { regex: '\\.node$', message: 'Only src/sys/native.ts loads the addon.' },
    { regex: '^(\\.\\./)+index(\\.js)?$', message: 'src/index.ts is for users of the library.' },
  ];
  if (others.length > 0) {
    patterns.push({
      regex: `^(\\.\\./)+(${others.join('|')})/`,
      message: `src/${folder} may import only: ${allowed.join(', ') || 'nothing else'} (the rings in eslint.config.js).`,
    });
  }
  return patterns;
}

const restrict = (files, patterns) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { paths: [addonLoaders], patterns }] },
});

const ring = (folder, allowed) =>
  restrict([`src/${folder}/**/*.ts`], ringPatterns(folder, allowed));

function room(name, at) {
  const later = rooms.slice(at + 1).map((each) => `${each}/`);
  const root = at < WITHOUT_OVERLAY ? '(?!hit|spec)\\w+\\.js' : 'open\\.js';
  const pattern = {
    regex: `^\\.\\./(${[...later, `${root}$`].join('|')})`,
    message: `src/overlay/${name} imports only rooms before it (the rooms in eslint.config.js).`,
  };
  return restrict(
    [`src/overlay/${name}/**/*.ts`],
    [...ringPatterns('overlay', rings.overlay), pattern],
  );
}

function rootFile(name, at) {
  const later = files.slice(at + 1).map((each) => `${each}\\.js$`);
  const outer = rooms.slice(name === 'open' ? rooms.length : WITHOUT_OVERLAY);
  const barred = [...later, ...outer.map((each) => `${each}/`)];
  const pattern = {
    regex: `^\\./(${barred.join('|')})`,
    message: `src/overlay/${name}.ts imports only files before it, and inner rooms (eslint.config.js).`,
  };
  const patterns = ringPatterns('overlay', rings.overlay);
  return restrict(
    [`src/overlay/${name}.ts`],
    barred.length > 0 ? [...patterns, pattern] : patterns,
  );
}

/** What comments here do not say: work that is left, and words that add nothing. */
const FORBIDDEN = [
  ...['todo', 'fixme', 'xxx', 'hack'],
  ...['obviously', 'of course', 'needless to say', 'so to speak', 'basically', 'what ends with it'],
  ...['anyhow', 'as it were', 'is minded', 'so to say', 'is known by what', 'has it that'],
];

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'packages/', 'packaging/cjs/', 'node_modules/', 'coverage/'] },
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ['vitest.config.ts'] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      // A dropped promise is a request without an answer: a hung container.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // Elements of typed arrays have type number although an index may lie outside; a check of
      // one is not needless. The same goes for values that cross a process.
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-non-null-assertion': 'off',
      'no-cond-assign': 'error',
      'no-constant-binary-expression': 'error',
      'no-empty': 'error',
      'no-fallthrough': 'error',
      'no-self-assign': 'error',
      'no-self-compare': 'error',
      'no-unsafe-finally': 'error',
      'no-useless-escape': 'error',
      eqeqeq: 'error',
      // Biome formats the code; what it leaves are comments.
      'max-len': ['error', { code: 1000, comments: 120, ignoreUrls: true }],
      'no-warning-comments': ['error', { terms: FORBIDDEN, location: 'anywhere' }],
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'dlopen',
          message: 'Only src/sys/native.ts loads the addon.',
        },
      ],
    },
  },
  { files: ['src/**/*.ts'], rules: { 'max-params': ['error', 5] } },
  ...Object.entries(rings).map(([folder, allowed]) => ring(folder, allowed)),
  ...rooms.map(room),
  ...files.map(rootFile),
  {
    files: ['src/sys/native.ts'],
    rules: { 'no-restricted-imports': 'off', 'no-restricted-properties': 'off' },
  },
  {
    files: ['**/*.js', '**/*.mjs', '**/*.cjs'],
    ...tseslint.configs.disableTypeChecked,
    languageOptions: {
      ...tseslint.configs.disableTypeChecked.languageOptions,
      globals: { process: 'readonly', console: 'readonly', Buffer: 'readonly', URL: 'readonly' },
    },
  },
  {
    files: ['**/*.cjs'],
    languageOptions: {
      sourceType: 'commonjs',
      globals: { require: 'readonly', module: 'writable', __dirname: 'readonly' },
    },
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
);
