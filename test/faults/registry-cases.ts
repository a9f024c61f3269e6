/** Faults of the registry. */
import { setTimeout as delay } from 'node:timers/promises';
import { MIB, SECOND } from '../../src/util/clock.ts';
import type { WrittenRule } from '../support/fault-rules.ts';
import { holders, underRules, type Case } from './case.ts';

const BLOBS = '/blobs/';

const answer = (status: number, headers: Record<string, string> = {}): WrittenRule['fault'] => ({
  kind: 'answer',
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: '{"errors":[{"code":"UNAVAILABLE","message":"test"}]}',
});

/** All pull while the first body of each blob meets this fault. */
const onFirstBodies =
  (fault: WrittenRule['fault']): Case['act'] =>
  async (site) => {
    const rules = site.image.blobs.map(({ digest }) => ({ path: digest, times: 1, fault }));
    return underRules(...rules)(site);
  };

export const REGISTRY_CASES: readonly Case[] = [
  {
    title: 'the registry is killed in the middle and comes back after 5 s',
    isDirectWorse: true,
    images: 3,
    act: async (site) => {
      await site.pull();
      await site.untilSent(0.5);
      await site.stopRegistry();
      await delay(5 * SECOND);
      await site.startRegistry();
      return site.ended();
    },
  },
  {
    title: 'the registry is gone for good once the nodes have all of the image',
    isShort: true,
    act: async (site) => {
      await holders(site, [0]);
      await site.stopRegistry();
      await site.pull([1, 2, 3, 4]);
      return site.ended();
    },
  },
  {
    title: 'each third request is answered 503',
    isDirectWorse: true,
    act: underRules({ path: '/v2/', every: 3, fault: answer(503) }),
  },
  {
    title: 'all requests of the first 10 s are answered 429',
    isDirectWorse: true,
    act: async (site) => {
      await site.misbehave({ path: '/v2/', fault: answer(429, { 'retry-after': '2' }) });
      await site.pull(undefined, { tries: 8 });
      await delay(10 * SECOND);
      await site.misbehave();
      return site.ended();
    },
  },
  {
    title: 'all requests of 10 s in the middle are answered 429',
    isDirectWorse: true,
    images: 4,
    act: async (site) => {
      await site.pull(undefined, { tries: 4 });
      await site.until(0.3);
      await site.misbehave({ path: '/v2/', fault: answer(429, { 'retry-after': '2' }) });
      await delay(10 * SECOND);
      await site.misbehave();
      return site.ended();
    },
  },
  {
    title: 'each body stalls after 1 MiB',
    isDirectWorse: true,
    act: underRules({ path: BLOBS, fault: { kind: 'stall-at', at: MIB } }),
  },
  {
    title: 'the first body of each blob stalls after 1 MiB',
    isDirectWorse: true,
    isShort: true,
    act: onFirstBodies({ kind: 'stall-at', at: MIB }),
  },
  {
    title: 'each body is cut off after 1 MiB',
    act: underRules({ path: BLOBS, fault: { kind: 'cut', at: MIB } }),
  },
  {
    title: 'the first body of each blob is reset after 1 MiB',
    isDirectWorse: true,
    act: onFirstBodies({ kind: 'reset-at', at: MIB }),
  },
  {
    title: 'a bit of a layer was wrong when it was first sent; the next pull',
    isShort: true,
    act: async (site) => {
      const path = site.image.blobs.at(-1)?.digest ?? '';
      // What a client gets of a blob before all of it is there may be wrong: its digest tells, as without Weir.
      await underRules({ path, times: 1, fault: { kind: 'flip', at: 100 } })(site);
      await site.mark();
      await site.pull();
      return site.ended();
    },
  },
  {
    title: 'the registry has 5 Mbit/s',
    site: { layers: [2 * MIB, 2 * MIB, 2 * MIB], registryRate: '5mbit' },
    act: underRules(),
  },
  {
    title: 'the registry answers each Range with the whole blob',
    site: { layers: [20 * MIB, 20 * MIB] },
    images: 2.5,
    act: underRules({ path: BLOBS, fault: { kind: 'ignore-range' } }),
  },
];
