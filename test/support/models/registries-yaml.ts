/** Where k3s and RKE2 pull from, written from https://docs.k3s.io/installation/private-registry, on its own. */
import { parse } from 'yaml';

export interface RancherPlace {
  readonly url: string;
  readonly isRewritten: boolean;
}

/** The endpoints in their order, then the registry itself, whose names are not rewritten. */
export function rancherPlaces(text: string, registry: string): readonly RancherPlace[] {
  const { mirrors } = (parse(text, { merge: true }) ?? {}) as {
    mirrors?: Record<string, { endpoint?: string[]; rewrite?: object } | null>;
  };
  const entry = mirrors?.[registry] === undefined ? mirrors?.['*'] : mirrors[registry];
  const isRewritten = entry?.rewrite !== undefined;
  const endpoints = (entry?.endpoint ?? []).map((url) => ({ url, isRewritten }));
  return [...endpoints, { url: `https://${registry}`, isRewritten: false }];
}
