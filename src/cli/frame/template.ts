/**
 * Templates of `--format`: the part of Go's text/template that Docker's users write. Fields,
 * variables, pipelines, if/else, range, with, and Docker's functions (templateFunctions.ts).
 */
import { UserError } from '../../base/errno.js';
import { FUNCTIONS, isTrue, show } from './templateFunctions.js';
import { type Expression, type Node, parseTemplate, type Pipeline } from './templateParse.js';

interface Scope {
  readonly dot: unknown;
  readonly variables: ReadonlyMap<string, { value: unknown }>;
}

const fail = (what: string): never => {
  throw new UserError(`template parsing error: ${what}`);
};

/** A field; undefined when there is none, which `if` takes for false and output refuses. */
function field(value: unknown, name: string): unknown {
  if (value === null || value === undefined) return undefined;
  if (typeof value !== 'object') return fail(`can't evaluate field ${name} in ${typeof value}`);
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}

function operand(expression: Expression, scope: Scope): unknown {
  switch (expression.kind) {
    case 'literal':
      return expression.value;
    case 'dot':
      return expression.fields.reduce(field, scope.dot);
    case 'variable': {
      const found = scope.variables.get(expression.name);
      if (!found) return fail(`undefined variable "${expression.name}"`);
      return expression.fields.reduce(field, found.value);
    }
    case 'pipeline':
      return expression.fields.reduce(field, evaluate(expression.pipeline, scope));
    case 'function':
      return call(expression.name, []);
  }
}

function call(name: string, args: readonly unknown[]): unknown {
  if (!FUNCTIONS.has(name)) return fail(`function "${name}" not defined`);
  return FUNCTIONS.get(name)!(args);
}

function evaluate(pipeline: Pipeline, scope: Scope): unknown {
  let piped: readonly unknown[] = [];
  for (const [first, ...rest] of pipeline.commands) {
    if (first.kind === 'function') {
      piped = [call(first.name, [...rest.map((each) => operand(each, scope)), ...piped])];
    } else if (rest.length > 0 || piped.length > 0)
      fail("can't give arguments to what is no function");
    else piped = [operand(first, scope)];
  }
  const [value] = piped;
  if (pipeline.variable !== undefined) {
    const known = scope.variables.get(pipeline.variable);
    if (pipeline.declares) {
      (scope.variables as Map<string, { value: unknown }>).set(pipeline.variable, { value });
    } else if (known) known.value = value;
    else fail(`undefined variable "${pipeline.variable}"`);
  }
  return value;
}

const inner = (scope: Scope, dot: unknown): Scope => ({ dot, variables: new Map(scope.variables) });

function items(value: unknown): [unknown, unknown][] {
  if (Array.isArray(value)) return value.map((each, i) => [i, each as unknown]);
  if (typeof value === 'number') return Array.from({ length: value }, (_, i) => [i, i]);
  if (value !== null && typeof value === 'object') {
    return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  }
  return [];
}

function loop(node: Extract<Node, { kind: 'range' }>, scope: Scope): string {
  const each = items(evaluate(node.pipeline, inner(scope, scope.dot)));
  if (each.length === 0) return render(node.otherwise, inner(scope, scope.dot));
  let out = '';
  for (const [key, value] of each) {
    const own = inner(scope, value);
    const variables = own.variables as Map<string, { value: unknown }>;
    if (node.names.length === 2) variables.set(node.names[0], { value: key });
    if (node.names.length > 0) variables.set(node.names[node.names.length - 1], { value });
    out += render(node.body, own);
  }
  return out;
}

function render(nodes: readonly Node[], scope: Scope): string {
  let out = '';
  for (const node of nodes) {
    if (node.kind === 'text') out += node.text;
    else if (node.kind === 'range') out += loop(node, scope);
    else if (node.kind === 'output') {
      const value = evaluate(node.pipeline, scope);
      if (node.pipeline.variable !== undefined) continue;
      if (value === undefined) fail(`no entry for ${node.source}`);
      out += show(value);
    } else {
      const own = inner(scope, scope.dot);
      const value = evaluate(node.pipeline, own);
      if (!isTrue(value)) out += render(node.otherwise, inner(scope, scope.dot));
      else out += render(node.body, node.kind === 'with' ? inner(own, value) : own);
    }
  }
  return out;
}

/** Parses a template; throws UserError where it is wrong. The result applies it to a value. */
export function compileTemplate(source: string): (value: unknown) => string {
  const nodes = parseTemplate(source);
  return (value) => render(nodes, { dot: value, variables: new Map([['$', { value }]]) });
}
