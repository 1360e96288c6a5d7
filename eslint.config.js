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
  fuse: [...leaves, 'sys', 'layer', 'overlay'],
  mount: [...leaves, 'sys', 'layer', 'overlay', 'fuse'],
  store: [...leaves, 'sys', 'layer', 'archive', 'mount'],
  driver: [...leaves, 'sys', 'layer', 'archive', 'mount', 'store'],
  cli: [...leaves, 'sys', 'layer', 'archive', 'overlay', 'fuse', 'mount', 'store', 'driver'],
};

const addonLoaders = {
  name: 'node:module',
  message: 'Only src/sys/native.ts loads the addon.',
};

function ring(folder, allowed) {
  const others = Object.keys(rings).filter((name) => name !== folder && !allowed.includes(name));
  const patterns = [
    { regex: '\\.node$', message: 'Only src/sys/native.ts loads the addon.' },
    { regex: '^\\.\\./index(\\.js)?$', message: 'src/index.ts is for users of the library.' },
  ];
  if (others.length > 0) {
    patterns.push({
      regex: `^(\\.\\./)+(${others.join('|')})/`,
      message: `src/${folder} may import only: ${allowed.join(', ') || 'nothing else'} (the rings in eslint.config.js).`,
    });
  }
  return {
    files: [`src/${folder}/**/*.ts`],
    rules: { 'no-restricted-imports': ['error', { paths: [addonLoaders], patterns }] },
  };
}

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'node_modules/', 'coverage/'] },
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
  ...Object.entries(rings).map(([folder, allowed]) => ring(folder, allowed)),
  { files: ['src/sys/native.ts'], rules: { 'no-restricted-imports': 'off' } },
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
