/**
 * Counts how `src` is built: files per room, circles of imports, long functions, functions of many
 * parameters, exports that nobody uses. `node test/support/structure.mjs` prints the tables of
 * docs/structure.md; test/unit/structure.test.ts holds what must stay 0.
 *
 * It reads the syntax trees alone, which takes two seconds; types are not resolved. An export counts as used
 * when another file of `src` or `bench`, or a test, imports its name.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const REPOSITORY = join(dirname(fileURLToPath(import.meta.url)), '../..');
/** Their exports are used from outside: by programs of others, and by bundle.js. */
const ENTRIES = ['src/index.ts', 'src/host/engineEntryBundled.ts'];

/** The TypeScript files below `folder`, by their path from the repository's root. */
function filesBelow(folder) {
  return readdirSync(join(REPOSITORY, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.c?ts$/.test(entry.name))
    .map((entry) => relative(REPOSITORY, join(entry.parentPath, entry.name)))
    .sort();
}

const parse = (path) =>
  ts.createSourceFile(
    path,
    readFileSync(join(REPOSITORY, path), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );

/** The file that an import names, where it is one of ours. */
const resolve = (from, specifier) =>
  specifier.startsWith('.')
    ? join(dirname(from), specifier).replace(/\.(c?)js$/, '.$1ts')
    : undefined;

const hasModifier = (node, kind) => node.modifiers?.some((each) => each.kind === kind) ?? false;

/** The names that a statement exports from its own file. */
function exported(statement) {
  if (ts.isExportDeclaration(statement) && statement.moduleSpecifier === undefined) {
    return statement.exportClause.elements.map((each) => each.name.text);
  }
  if (!hasModifier(statement, ts.SyntaxKind.ExportKeyword)) return [];
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.flatMap(({ name }) =>
      ts.isIdentifier(name) ? [name.text] : name.elements.map((each) => each.name.text),
    );
  }
  return [statement.name.text];
}

/** The names of a namespace import that a file uses, `x.name`; undefined when it uses `x` as a whole. */
function members(source, namespace) {
  const names = [];
  let whole = false;
  const visit = (node) => {
    if (ts.isIdentifier(node) && node.text === namespace && !ts.isNamespaceImport(node.parent)) {
      const { parent } = node;
      if (ts.isPropertyAccessExpression(parent)) names.push(parent.name.text);
      else if (ts.isQualifiedName(parent)) names.push(parent.right.text);
      else whole = true;
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return whole ? undefined : names;
}

/** What a file takes from others: the module, the names (`undefined`: all), whether only when it is called. */
function imported(source) {
  const found = [];
  const add = (specifier, names, late = false) => {
    const target = resolve(source.fileName, specifier.text);
    if (target !== undefined) found.push({ target, names, late });
  };
  const visit = (node) => {
    if (ts.isImportDeclaration(node)) {
      const bindings = node.importClause?.namedBindings;
      if (bindings === undefined) add(node.moduleSpecifier, []);
      else if (ts.isNamespaceImport(bindings))
        add(node.moduleSpecifier, members(source, bindings.name.text));
      else
        add(
          node.moduleSpecifier,
          bindings.elements.map((each) => (each.propertyName ?? each.name).text),
        );
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
      const names = node.exportClause?.elements.map(
        (each) => (each.propertyName ?? each.name).text,
      );
      add(node.moduleSpecifier, names);
    } else if (
      ts.isCallExpression(node) &&
      node.expression.kind === ts.SyntaxKind.ImportKeyword &&
      ts.isStringLiteralLike(node.arguments[0])
    ) {
      add(node.arguments[0], undefined, true);
    } else if (ts.isImportTypeNode(node)) {
      add(node.argument.literal, node.qualifier === undefined ? undefined : [node.qualifier.text]);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** The functions of a file with a body: name, lines, parameters. */
function functions(source) {
  const found = [];
  const line = (at) => source.getLineAndCharacterOfPosition(at).line;
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body !== undefined) {
      const name = node.name?.getText() ?? node.parent.name?.getText() ?? 'anonymous';
      found.push({
        name: ts.isConstructorDeclaration(node) ? 'constructor' : name,
        path: source.fileName,
        line: line(node.getStart()) + 1,
        lines: line(node.end) - line(node.getStart()) + 1,
        parameters: node.parameters.length,
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const sources = new Map(filesBelow('src').map((path) => [path, parse(path)]));

/** The exports that no other file uses, as `path: name`. */
export function unusedExports() {
  const used = new Set();
  const users = [
    ...sources.values(),
    ...[...filesBelow('bench'), ...filesBelow('test')].map(parse),
  ];
  const all = new Set(ENTRIES);
  for (const source of users) {
    for (const { target, names } of imported(source)) {
      if (names === undefined) all.add(target);
      else for (const name of names) used.add(`${target}: ${name}`);
    }
  }
  return [...sources.values()]
    .filter((source) => !all.has(source.fileName))
    .flatMap((source) =>
      source.statements.flatMap(exported).map((name) => `${source.fileName}: ${name}`),
    )
    .filter((name) => !used.has(name));
}

/**
 * The circles of imports, each as the list of its files (strongly connected components). A module that is
 * loaded when a command is called (`import()`) closes none.
 */
export function circles() {
  const order = new Map();
  const low = new Map();
  const stack = [];
  const found = [];
  const visit = (path) => {
    order.set(path, order.size);
    low.set(path, order.get(path));
    stack.push(path);
    for (const { target, late } of imported(sources.get(path))) {
      if (late || !sources.has(target)) continue;
      if (!order.has(target)) visit(target);
      if (stack.includes(target)) low.set(path, Math.min(low.get(path), low.get(target)));
    }
    if (low.get(path) !== order.get(path)) return;
    const circle = stack.splice(stack.indexOf(path));
    if (circle.length > 1) found.push(circle.sort());
  };
  for (const path of sources.keys()) if (!order.has(path)) visit(path);
  return found;
}

/** The number of files in each folder of `src`. */
export function filesPerRoom() {
  const rooms = new Map();
  for (const path of sources.keys()) rooms.set(dirname(path), (rooms.get(dirname(path)) ?? 0) + 1);
  return rooms;
}

/** Every function of `src` that has a body. */
export const allFunctions = () => [...sources.values()].flatMap(functions);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const print = (text) => process.stdout.write(`${text}\n`);
  const most = (by, count) => (each) =>
    allFunctions()
      .sort((a, b) => b[by] - a[by])
      .slice(0, count)
      .map(each);
  print('files per room:');
  for (const [room, count] of filesPerRoom()) print(`  ${count} ${room}`);
  print(`circles of imports: ${circles().length}`);
  for (const circle of circles()) print(`  ${circle.join(', ')}`);
  print('longest functions:');
  most('lines', 10)((each) => print(`  ${each.lines} ${each.path}:${each.line} ${each.name}`));
  const many = allFunctions().filter(({ parameters }) => parameters > 5);
  print(`functions of more than 5 parameters: ${many.length}`);
  for (const each of many) print(`  ${each.parameters} ${each.path}:${each.line} ${each.name}`);
  const unused = unusedExports();
  print(`exports that no other file uses: ${unused.length}`);
  for (const each of unused) print(`  ${each}`);
}
