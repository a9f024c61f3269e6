/**
 * Writes the plain manifests, for clusters that are run without Helm: `npm run manifests`. A test keeps them equal to
 * the chart.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { parseManifests, template, type Manifest } from '../helm.ts';

/** The operator makes the key: a public manifest can hold no secret. */
const VALUES = ['--set', 'clusterKey.existingSecret=weir-cluster-key', '--set', 'zone.from=podLabel'];

const HEAD = '# Rendered from deploy/chart by `npm run manifests`; see README.md here.\n';

/** The files by their names. */
export async function renderManifests(): Promise<Readonly<Record<string, string>>> {
  const all = parseManifests(await template(...VALUES));
  const isHook = (manifest: Manifest): boolean =>
    manifest.metadata.annotations?.['helm.sh/hook'] !== undefined;
  return {
    'weir.yaml': write(all.filter((manifest) => !isHook(manifest))),
    'restore.yaml': write(all.filter((manifest) => isHook(manifest) && manifest.kind === 'DaemonSet')),
  };
}

function write(manifests: readonly Manifest[]): string {
  return (
    HEAD + manifests.map((manifest) => `---\n${stringify(withoutHelm(manifest), { lineWidth: 0 })}`).join('')
  );
}

/** Removes labels and annotations that only Helm understands. */
function withoutHelm(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutHelm);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(
    ([key]) => !key.startsWith('helm.sh/') && key !== 'app.kubernetes.io/managed-by',
  );
  const entries = kept.map(([key, each]) => [key, withoutHelm(each)] as const);
  return Object.fromEntries(entries.filter(([key, each]) => key !== 'annotations' || !isEmpty(each)));
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(await renderManifests())) {
    await writeFile(join(import.meta.dirname, name), text);
  }
}
