/**
 * Kubernetes' schemas, from the package kubernetes-models, applied twice: its validators see wrong types, wrong values
 * and missing fields; its TypeScript types see fields that do not exist, which the compiler refuses in literals.
 */
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Manifest } from '../../deploy/helm.ts';
import { run } from './program.ts';

interface Validated {
  validate(): void;
}
type ModelClass = new (data: unknown) => Validated;

/** Modules of the types of each group. */
const PACKAGES: Readonly<Record<string, string>> = {
  'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
};

const ROOT = resolve(import.meta.dirname, '../..');

/** @throws Error that names the field */
export async function validate(manifest: Manifest): Promise<void> {
  const { apiVersion, kind } = manifest;
  const module = (await import(moduleOf(apiVersion, kind))) as Record<string, ModelClass>;
  const Model = module[kind];
  if (Model === undefined) throw new Error(`${apiVersion} has no ${kind}`);
  new Model(manifest).validate();
}

/** @returns the compiler's errors on fields that do not exist (and its other errors); empty: none */
export async function typeProblems(manifests: readonly Manifest[]): Promise<readonly string[]> {
  // Below the tree, where the compiler finds node_modules.
  await mkdir(join(ROOT, '.cache'), { recursive: true });
  const folder = await mkdtemp(join(ROOT, '.cache/manifests-'));
  try {
    const lines = manifests.map((manifest, index) => {
      const { apiVersion, kind } = manifest;
      const name = `import('${moduleOf(apiVersion, kind)}').I${kind}`;
      return `export const manifest${index}: ${name} = ${JSON.stringify(manifest, null, 1)};`;
    });
    await writeFile(join(folder, 'manifests.ts'), lines.join('\n'));
    const options = { noEmit: true, strict: true, module: 'nodenext', skipLibCheck: true, types: [] };
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: options, include: ['manifests.ts'] }),
    );
    const { stdout } = await run(join(ROOT, 'node_modules/.bin/tsc'), [
      '--project',
      folder,
      '--pretty',
      'false',
    ]);
    return stdout.split('\n').filter((line) => line.includes('error TS'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function moduleOf(apiVersion: string, kind: string): string {
  return `${PACKAGES[apiVersion] ?? `kubernetes-models/${apiVersion}`}/${kind}`;
}
