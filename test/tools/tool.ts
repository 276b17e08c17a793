/** The tools of tools/, which are ES modules outside of what is compiled. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const TOOLS = join(__dirname, '..', '..', '..', 'tools');

/** The exports of a tool. */
export async function loadTool<Exports>(name: string): Promise<Exports> {
  return (await import(pathToFileURL(join(TOOLS, name)).href)) as Exports;
}

export interface Findings {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a check on a tree of its own, as `npm run lint` does. */
export function runTool(name: string, tree: string): Findings {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(TOOLS, name), tree], { encoding: 'utf8' });
  return { code: status, stdout, stderr };
}
