/** Chooses the nodes of an order: the same ones each time for the same images, as long as the members are the same. Pure. */
import { hashText, rank, type Candidate } from '../cluster/hrw.ts';

/** All of them, so many, or so many percent. */
export type NodeCount =
  | { readonly kind: 'all' }
  | { readonly kind: 'count' | 'percent'; readonly value: number };

const NODE_COUNT = /^([1-9]\d{0,5})(%?)$/;

/** `all`, `2`, `10%`; undefined for anything else. */
export function tryParseNodeCount(text: string): NodeCount | undefined {
  if (text === 'all') return { kind: 'all' };
  const [, digits, percent] = NODE_COUNT.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const value = Number(digits);
  if (percent === '') return { kind: 'count', value };
  return value <= 100 ? { kind: 'percent', value } : undefined;
}

export function formatNodeCount(count: NodeCount): string {
  if (count.kind === 'all') return 'all';
  return `${count.value}${count.kind === 'percent' ? '%' : ''}`;
}

export interface ZonedNode extends Candidate {
  readonly zone: string;
}

/**
 * The nodes with the highest rank for these images; all if fewer are there.
 * @param zone undefined: any
 * @param key names the images
 */
export function chooseNodes<T extends ZonedNode>(
  members: readonly T[],
  {
    zone,
    nodes,
    key,
  }: { readonly zone: string | undefined; readonly nodes: NodeCount; readonly key: string },
): readonly T[] {
  const eligible = members.filter((member) => zone === undefined || member.zone === zone);
  const count = Math.min(eligible.length, countOf(nodes, eligible.length));
  return count === 0 ? [] : rank(eligible, hashText(`preheat ${key}`), count);
}

/** A part of a node is a node: `1%` of ten is one. */
function countOf(nodes: NodeCount, eligible: number): number {
  if (nodes.kind === 'all') return eligible;
  return nodes.kind === 'count' ? nodes.value : Math.ceil((eligible * nodes.value) / 100);
}
