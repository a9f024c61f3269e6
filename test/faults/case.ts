/** One fault, and what cases have in common. */
import type { WrittenRule } from '../support/fault-rules.ts';
import type { Site, SiteOptions, Summary } from './site.ts';

export interface Case {
  readonly title: string;
  /** A pull without Weir fails or hangs: then one through Weir may, but no byte may be wrong. */
  readonly isDirectWorse?: boolean;
  readonly site?: SiteOptions;
  /** Images that may leave the registry; default 2.5 (a node that died or was cut off takes one more). */
  readonly images?: number;
  /** Whether it is part of `make test`. */
  readonly isShort?: boolean;
  readonly act: (site: Site) => Promise<Summary>;
}

/** All pull while the registry follows these rules. */
export const underRules =
  (...rules: readonly WrittenRule[]): Case['act'] =>
  async (site) => {
    await site.misbehave(...rules);
    await site.pull();
    return site.ended();
  };

/** All pull, and this happens when they have `share` of the image. */
export const amid =
  (share: number, event: (site: Site) => Promise<unknown>): Case['act'] =>
  async (site) => {
    await site.pull();
    await site.untilAll(share / 2);
    await site.until(share);
    await event(site);
    return site.ended();
  };

/** These nodes have the image; what comes counts. */
export const holders = async (site: Site, nodes: readonly number[]): Promise<void> => {
  await site.pull(nodes);
  const { failed, hung, errors } = await site.ended();
  if (failed + hung > 0) throw new Error(`the first pull failed: ${errors.join('; ')}`);
  await site.mark();
};
