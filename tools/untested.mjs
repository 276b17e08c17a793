// Sources, or folders of sources, without a test file of the same name, each with the test that covers it instead.
import ts from 'typescript';

export const UNTESTED = {
  'lib/option-kinds.ts': 'test/lib/options.test.ts',
  'lib/policy-address.ts': 'test/lib/policy.test.ts',
  'lib/errors.ts': 'test/lib/config.test.ts',
  'lib/dpdk-object.ts': 'test/e2e/dpdk.test.ts',
  'lib/binding.ts': 'test/lib/stack.test.ts',
  'lib/connection.ts': 'test/lib/stack.test.ts',
  'lib/datagram.ts': 'test/lib/stack.test.ts',
  'lib/listener.ts': 'test/lib/stack.test.ts',
  'lib/rings.ts': 'test/lib/stack.test.ts',
  'lib/facade.ts': 'test/lib/hand-over.test.ts',
  'lib/index.ts': 'test/lib/runtime.test.ts',
  'lib/interfaces.ts': 'test/lib/runtime.test.ts',
  'lib/lifecycle.ts': 'test/lib/runtime.test.ts',
  'lib/stats.ts': 'test/lib/runtime.test.ts',
  // The facade is tested through the modules of Node that stand on it.
  'compat/net/': 'test/compat/net.test.ts',
  'compat/net/tls.ts': 'test/compat/tls.test.ts',
  'compat/dgram/': 'test/compat/dgram.test.ts',
  'compat/register.ts': 'test/lib/cli/run.test.ts',
  'compat/activate.ts': 'test/lib/cli/run.test.ts',
  'compat/async-scope.ts': 'test/compat/same-hooks.test.ts',
  'compat/install.ts': 'test/compat/net.test.ts',
  'compat/internals.ts': 'test/compat/net.test.ts',
  'compat/replace.ts': 'test/compat/net.test.ts',
  'compat/self-test.ts': 'test/compat/net.test.ts',
  'lib/cli/main.ts': 'test/lib/cli/commands.test.ts',
  'lib/cli/print-options.ts': 'test/lib/cli/commands.test.ts',
  'lib/cli/usage.ts': 'test/lib/cli/commands.test.ts',
};

/** True when another test covers `path`, itself or its folder. */
export function coveredElsewhere(path) {
  return Object.keys(UNTESTED).some((entry) => (entry.endsWith('/') ? path.startsWith(entry) : path === entry));
}

/** True for a module that leaves nothing at run time but names of others and plain constants. */
export function isTypesOnly(text) {
  const source = ts.createSourceFile('x.ts', text, ts.ScriptTarget.ES2022, false);
  return source.statements.every(
    (node) =>
      ts.isInterfaceDeclaration(node) ||
      ts.isTypeAliasDeclaration(node) ||
      ts.isImportDeclaration(node) ||
      ts.isExportDeclaration(node) ||
      (ts.isVariableStatement(node) && node.declarationList.declarations.every(isLiteral)),
  );
}

function isLiteral(declaration) {
  const value = declaration.initializer;
  if (value === undefined) return true;
  return ts.isLiteralExpression(value) || (ts.isPrefixUnaryExpression(value) && ts.isNumericLiteral(value.operand));
}
