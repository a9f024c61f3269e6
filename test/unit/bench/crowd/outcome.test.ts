import assert from 'node:assert/strict';
import { GIB } from '../../../../src/util/clock.ts';
import { difference, resultOf, type Observed } from '../../../../bench/crowd/outcome.ts';
import type { NodePlan } from '../../../../bench/crowd/plan.ts';
import type { Pulled } from '../../../../bench/crowd/pulls.ts';
import { IMAGE, SECONDS_ON_LINK, settingsOf } from './settings.ts';

const node: NodePlan = { name: 'a', zone: '', wave: 0, delay: 0, isSlow: false, dies: undefined };

function pulled(started: number, ended: number, changes: Partial<Pulled> = {}): Pulled {
  return { started, completed: ended, ended, firstByte: 0.5, failure: undefined, fallbacks: [], ...changes };
}

/** The times of a failed pull. */
const fails = { completed: null, firstByte: null, failure: 'it broke' };

/** Two nodes that took 5 s and 6 s, with these changes. */
function observed(changes: Partial<Observed> = {}): Observed {
  const plan = changes.plan ?? [node, { ...node, name: 'b' }];
  const nobody = plan.map(() => null);
  return {
    system: 'weir',
    addresses: undefined,
    untold: 'peers',
    runtimeAgent: 'client',
    turn: 1,
    seed: 1,
    settings: settingsOf(),
    imageBytes: IMAGE,
    plan,
    pulled: [pulled(0, 5), pulled(0, 6)],
    traffic: plan.map(() => undefined),
    connections: plan.map(() => 0),
    registryConnections: 3,
    accesses: [],
    wireBytes: null,
    linkBytes: null,
    cpuSeconds: 4,
    mainCpuSeconds: 3,
    loopDelays: [4, 9, 2],
    cpuBusy: 0.5,
    cpuStolen: 0,
    startSeconds: 3,
    knownSeconds: 1,
    startCpuSeconds: 9,
    idleBytes: nobody,
    idlePrivateBytes: nobody,
    peakBytes: nobody,
    centralPeakBytes: [],
    versions: {},
    curve: [],
    ...changes,
  };
}

describe('bench/crowd/outcome', () => {
  it('measures the makespan from the common start, and each pull from its own', () => {
    const result = resultOf(observed({ pulled: [pulled(0, 5), pulled(2, 8)] }));
    assert.equal(result.makespan_s, 8);
    assert.equal(result.makespan_ratio, 8 / SECONDS_ON_LINK);
    assert.equal(result.p50_s, 5.5);
    assert.equal(result.first_byte_p50_s, 0.5);
    assert.equal(result.later_p50_s, null);
  });

  it('leaves slow and dying nodes out of all times', () => {
    const plan = [node, { ...node, name: 'b', isSlow: true }, { ...node, name: 'c', dies: 100 }];
    const dead = { ...pulled(0, 0.1), completed: null, firstByte: null };
    const result = resultOf(observed({ plan, pulled: [pulled(0, 5), pulled(0, 50), dead] }));
    assert.deepEqual([result.makespan_s, result.p50_s, result.p99_s], [5, 5, 5]);
    assert.deepEqual([result.failures, result.died, result.slow], [0, 1, 1]);
    assert.equal(result.per_node[1]?.completed_s, 50);
    assert.equal(result.per_node[2]?.completed_s, null);
  });

  it('does not count a node as dead if its pull ended before its death', () => {
    const plan = [node, { ...node, name: 'b', dies: 100 }];
    assert.equal(resultOf(observed({ plan })).died, 0);
  });

  it('waits for the end of a failed pull and tells its reason, but not its time', () => {
    const result = resultOf(observed({ pulled: [pulled(0, 5), pulled(0, 9, fails)] }));
    assert.equal(result.makespan_s, 9);
    assert.equal(result.p99_s, 5);
    assert.deepEqual(result.failure_reasons, [{ node: 'b', reason: 'it broke' }]);
    assert.equal(result.failures, 1);
  });

  it('ends with the last failure if nothing arrived', () => {
    const result = resultOf(observed({ pulled: [pulled(0, 7, fails), pulled(0, 9, fails)] }));
    assert.deepEqual([result.makespan_s, result.p50_s, result.p99_s], [9, 9, 9]);
    assert.equal(result.cpu_s_per_gib, null);
    assert.equal(result.first_byte_p50_s, null);
  });

  it('counts a slow node that fails as a failure', () => {
    const plan = [node, { ...node, name: 'b', isSlow: true }];
    const result = resultOf(observed({ plan, pulled: [pulled(0, 5), pulled(0, 9, fails)] }));
    assert.equal(result.failures, 1);
    assert.equal(result.makespan_s, 5);
  });

  it('has a median of the later waves alone', () => {
    const plan = [node, { ...node, name: 'b', wave: 1 }, { ...node, name: 'c', wave: 2 }];
    const result = resultOf(observed({ plan, pulled: [pulled(0, 5), pulled(5, 6), pulled(6, 9)] }));
    assert.equal(result.later_p50_s, 2);
    assert.equal(result.p50_s, 3);
  });

  it('counts bodies that left the registry, and all requests', () => {
    const access = { client: '10.0.0.1', path: '/v2/a/blobs/x', status: 200, userAgent: '' };
    const accesses = [
      { ...access, method: 'HEAD', bytes: 999 },
      { ...access, method: 'GET', bytes: IMAGE },
      { ...access, method: 'GET', bytes: IMAGE / 2 },
    ];
    const result = resultOf(observed({ accesses, wireBytes: 42, linkBytes: 3 * IMAGE }));
    assert.equal(result.registry_ratio, 1.5);
    assert.equal(result.registry_requests, 3);
    assert.equal(result.registry_wire_bytes, 42);
    assert.equal(result.link_ratio, 1.5);
    const none = observed({ linkBytes: IMAGE, pulled: [pulled(0, 7, fails), pulled(0, 9, fails)] });
    assert.equal(resultOf(none).link_ratio, null);
  });

  it('counts requests past the mirrors apart, by node', () => {
    const access = { client: '10.0.0.1', method: 'GET', path: '/v2/a/blobs/x', status: 200, bytes: 70 };
    const accesses = [
      { ...access, userAgent: 'weir/1.0' },
      { ...access, userAgent: 'client/1.0' },
      { ...access, userAgent: 'client/1.0', method: 'HEAD' },
      { ...access, userAgent: 'client/1.0', client: '10.0.0.2', bytes: 5 },
    ];
    const told = { bytes: { peers: 10, registry: 1 }, sentBytes: 0, crossZoneBytes: 0 };
    const seen = observed({
      accesses,
      addresses: ['10.0.0.1', '10.0.0.2'],
      traffic: [told, told],
      pulled: [pulled(0, 5, { fallbacks: ['404', '503'] }), pulled(0, 6)],
    });
    const result = resultOf(seen);
    assert.equal(result.failures, 0);
    assert.deepEqual([result.fallback_requests, result.fallback_bytes], [3, 75]);
    assert.deepEqual(result.fallback_reasons, [
      { node: 'a', reason: '404' },
      { node: 'a', reason: '503' },
    ]);
    assert.deepEqual(
      result.per_node.map(({ bytes }) => bytes.registry),
      [71, 6],
    );
    const direct = resultOf({ ...seen, runtimeAgent: undefined });
    assert.deepEqual([direct.fallback_requests, direct.fallback_bytes], [null, null]);
  });

  it('divides CPU time by the bytes that arrived, not by those of all begun pulls', () => {
    const whole = resultOf(observed());
    assert.equal(whole.cpu_s_per_gib, 4 / ((2 * IMAGE) / GIB));
    const half = resultOf(observed({ pulled: [pulled(0, 5), pulled(0, 9, fails)] }));
    assert.equal(half.cpu_s_per_gib, 4 / (IMAGE / GIB));
    assert.equal(half.main_cpu_s_per_gib, 3 / (IMAGE / GIB));
    assert.equal(half.loop_p99_ms, 9);
    assert.equal(resultOf(observed({ loopDelays: [] })).loop_p99_ms, null);
  });

  it('has no CPU time of main threads if nothing arrived, or the system has no process on nodes', () => {
    assert.equal(resultOf(observed({ mainCpuSeconds: null })).main_cpu_s_per_gib, null);
    const failed = observed({ pulled: [pulled(0, 7, fails), pulled(0, 9, fails)] });
    assert.equal(resultOf(failed).main_cpu_s_per_gib, null);
  });

  it('takes the memory of living nodes and of central programs', () => {
    const result = resultOf(
      observed({
        idleBytes: [100, null],
        idlePrivateBytes: [60, null],
        peakBytes: [150, null],
        centralPeakBytes: [200],
      }),
    );
    assert.equal(result.rss_idle_bytes, 100);
    assert.equal(result.private_idle_bytes, 60);
    assert.equal(result.rss_max_bytes, 200);
    assert.equal(resultOf(observed()).rss_idle_bytes, null);
    assert.equal(resultOf(observed()).rss_max_bytes, null);
  });

  it('subtracts bytes that nodes had fetched before', () => {
    const before = { bytes: { peers: 2, registry: 1 }, sentBytes: 3, crossZoneBytes: 1 };
    const after = { bytes: { peers: 12, registry: 2 }, sentBytes: 8, crossZoneBytes: 4 };
    assert.deepEqual(difference(after, before), {
      bytes: { peers: 10, registry: 1 },
      sentBytes: 5,
      crossZoneBytes: 3,
    });
    assert.equal(difference(undefined, before), undefined); // it has died
  });

  it("has bytes by source: as nodes report them, else the system's only source", () => {
    const traffic = { bytes: { peers: 7, registry: 3 }, sentBytes: 5, crossZoneBytes: 2 };
    const told = resultOf(observed({ traffic: [traffic, traffic] }));
    assert.deepEqual(told.per_node[0]?.bytes, { peers: 7, registry: 3 });
    assert.equal(told.cross_zone_bytes, 4);
    const untold = resultOf(observed({ untold: 'registry', pulled: [pulled(0, 5), pulled(0, 9, fails)] }));
    assert.deepEqual(
      untold.per_node.map(({ bytes }) => bytes),
      [
        { peers: 0, registry: IMAGE },
        { peers: 0, registry: 0 },
      ],
    );
  });

  it('counts bytes by the address of a node that does not report its sources', () => {
    const access = { client: '10.0.0.2', method: 'GET', path: '/v2/a/blobs/x', status: 200, userAgent: '' };
    const result = resultOf(
      observed({
        addresses: ['10.0.0.1', '10.0.0.2'],
        accesses: [
          { ...access, bytes: 100 },
          { ...access, bytes: 20 },
          { ...access, client: '10.0.0.3', bytes: 7 },
        ],
      }),
    );
    assert.deepEqual(
      result.per_node.map(({ bytes }) => bytes),
      [
        { peers: IMAGE, registry: 0 },
        { peers: IMAGE - 120, registry: 120 },
      ],
    );
  });
});
