/**
 * The work of a kubelet and an API server on a pod before a runtime sees it, for `podman kube play`, which lacks it.
 * Fields of the downward API get their values. Probes are left to the test: podman would run curl in the container for
 * them, and the image has none. Paths of the host get a prefix, so the machine's own are safe.
 */
import type { Manifest } from '../../deploy/helm.ts';

export interface NodeFacts {
  /** Prefix of all paths of the host that `keep` does not hold. */
  readonly hostRoot: string;
  readonly keep: readonly string[];
  /** Values of the downward API by their field paths. */
  readonly fields: Readonly<Record<string, string>>;
}

const PROBES: ReadonlySet<string> = new Set(['startupProbe', 'readinessProbe', 'livenessProbe']);

export function asOnNode(manifest: Manifest, facts: NodeFacts): Manifest {
  return visit(manifest, facts) as Manifest;
}

function visit(value: unknown, facts: NodeFacts): unknown {
  if (Array.isArray(value)) return value.map((each) => visit(each, facts));
  if (typeof value !== 'object' || value === null) return value;
  const field = fieldPath(value);
  if (field !== undefined) {
    const known = facts.fields[field];
    if (known === undefined) throw new Error(`the test knows no ${field} of the downward API`);
    return { name: (value as { name: string }).name, value: known };
  }
  const entries = Object.entries(value).filter(([key]) => !PROBES.has(key));
  return Object.fromEntries(
    entries.map(([key, each]) => [key, key === 'hostPath' ? hostPath(each, facts) : visit(each, facts)]),
  );
}

/** The value of an environment variable. */
function fieldPath(value: object): string | undefined {
  const { valueFrom } = value as { valueFrom?: { fieldRef?: { fieldPath: string } } };
  return valueFrom?.fieldRef?.fieldPath;
}

function hostPath(value: unknown, { hostRoot, keep }: NodeFacts): unknown {
  const source = value as { path: string };
  if (keep.includes(source.path)) return source;
  return { ...source, path: source.path === '/' ? hostRoot : hostRoot + source.path };
}
