import assert from 'node:assert/strict';
import { defaultConfig } from '../../../src/config/load.ts';
import { UpstreamLimit, upstreamRate } from '../../../src/daemon/limits.ts';

describe('the limit of bytes from registries', () => {
  it("is the node's own, or its part of the cluster's if that is less", () => {
    const rates = (own: number | 'none', all: number | 'none', members: number): number | undefined =>
      upstreamRate(
        defaultConfig({ 'upstream.max-download': own, 'upstream.max-cluster-download': all }),
        members,
      );
    assert.equal(rates('none', 'none', 10), undefined);
    assert.equal(rates(100, 'none', 10), 100);
    assert.equal(rates('none', 1000, 4), 250);
    assert.equal(rates(100, 1000, 4), 100);
    assert.equal(rates(300, 1000, 4), 250);
    assert.equal(rates('none', 1000, 0), 1000, 'a node counts itself');
  });

  it('follows the members and the configuration', () => {
    const config = defaultConfig({ 'upstream.max-cluster-download': 1000 });
    const set: (number | undefined)[] = [];
    const table = { members: 1, tell: (): void => undefined };
    const limit = new UpstreamLimit(
      config,
      { limit: (rate) => void set.push(rate) },
      {
        live: () => Array.from({ length: table.members }, () => ({}) as never),
        onChange: (listener) => {
          table.tell = listener;
          return () => (table.tell = () => undefined);
        },
      },
    );
    table.members = 4;
    table.tell();
    assert.equal(limit.prepare(config), undefined);
    limit.prepare(defaultConfig())?.();
    limit[Symbol.dispose]();
    table.tell();
    assert.deepEqual(set, [1000, 250, undefined]);
  });
});
