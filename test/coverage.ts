/**
 * `npm run coverage`: runs the unit tests and reports how much of src they ran. Arguments go to mocha, so that one file can
 * be looked at: `npm run coverage -- test/unit/oci/*.test.ts`.
 *
 * Node runs sources with their types blanked out. The report reads them in the same form, so that positions agree and
 * types and comments do not count as code that ran.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CoverageReport } from 'monocart-coverage-reports';

const ROOT = join(import.meta.dirname, '..');
const SOURCES = join(ROOT, 'src');
const OUTPUT = join(ROOT, 'build/coverage');
/** What V8 writes of each process. */
const RAW = join(OUTPUT, 'v8');

interface Source {
  readonly url?: string;
  source?: string;
}

/** A source file that was written by hand: generated code would only be counted for its generator. */
function isCounted(url: string): boolean {
  const path = url.startsWith('file:') ? fileURLToPath(url) : resolve(ROOT, url);
  return path.startsWith(`${SOURCES}/`) && path.endsWith('.ts') && !path.endsWith('_pb.ts');
}

async function runTests(args: readonly string[]): Promise<number> {
  const how =
    args.length > 0
      ? ['--no-config', '--timeout', '20000', ...args]
      : ['--config', 'test/unit/.mocharc.json'];
  const mocha = spawn(join(ROOT, 'node_modules/.bin/mocha'), how, {
    cwd: ROOT,
    env: { ...process.env, NODE_V8_COVERAGE: RAW },
    stdio: 'inherit',
  });
  const [code] = (await once(mocha, 'exit')) as [number | null];
  return code ?? 1;
}

/** @throws TypeError where the source has syntax that Node could not run either */
function strip(entry: Source): Promise<void> {
  if (entry.source !== undefined) entry.source = stripTypeScriptTypes(entry.source);
  return Promise.resolve();
}

async function report(): Promise<void> {
  const coverage = new CoverageReport({
    name: 'Weir: src, run by the unit tests',
    outputDir: join(OUTPUT, 'report'),
    reports: ['console-summary', 'v8', 'lcovonly', 'json-summary'],
    entryFilter: ({ url }: { readonly url: string }) => isCounted(url),
    onEntry: strip,
    // Files that no test loads count as well.
    all: { dir: relative(ROOT, SOURCES), filter: (path) => isCounted(path), transformer: strip },
  });
  await coverage.addFromDir(RAW);
  await coverage.generate();
  console.log(`report: ${relative(ROOT, OUTPUT)}/report/index.html`);
}

await rm(OUTPUT, { recursive: true, force: true });
process.exitCode = await runTests(process.argv.slice(2));
await report();
