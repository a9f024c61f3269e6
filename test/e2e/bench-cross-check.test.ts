/**
 * The simulator against the real thing: the same nodes, image and links in `bench simulate` and in `bench crowd` take
 * about as long. Links are thin, so that CPUs are not the bound.
 */
import assert from 'node:assert/strict';
import { MIB, MINUTE, SECOND } from '../../src/clock.ts';
import { parseRate } from '../../bench/crowd/options.ts';
import { runCrowd } from '../../bench/crowd/run.ts';
import { HEADERS, QUEUE } from '../../bench/simulate/options.ts';
import { simulate } from '../../bench/simulate/run.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';

const NODES = 12;
const ZONES = 3;
const LAYERS: readonly number[] = [12, 6, 3, 2, 1].map((size) => size * MIB);
const RATE = parseRate('20mbit');
/** Bytes in a millisecond, headers included. */
const PER_MILLISECOND: number = RATE.bitsPerSecond / 8 / SECOND;
/** By which the two may differ. */
const TOLERANCE = 0.2;
/** The machine may have other things to do in one of them. */
const GOES = 3;

requires(
  'root',
  'docker-registry',
  'ip',
  'nft',
)('bench simulate', () => {
  it(`foretells what ${NODES} real nodes take`, function () {
    this.timeout(6 * MINUTE);
    const foretold = simulate(
      {
        nodes: NODES,
        layers: LAYERS,
        link: PER_MILLISECOND,
        registry: PER_MILLISECOND,
        connection: Infinity,
        throttle: Infinity,
        headers: HEADERS,
        queue: QUEUE,
        zones: ZONES,
        latency: 1,
        zoneLatency: 1,
        membershipDelay: 5 * SECOND,
        start: { kind: 'simultaneous' },
        kill: 0,
        slow: 0,
        hang: 0,
        seed: 1,
      },
      1,
    ).result;
    return agree(foretold.makespan_s);
  });
});

async function agree(foretold: number): Promise<void> {
  const told: string[] = [];
  for (let count = 0; count < GOES; count++) {
    const { makespan_s: measured, failures } = await crowd();
    assert.equal(failures, 0);
    told.push(`${measured.toFixed(2)} s measured, ${foretold.toFixed(2)} s foretold`);
    if (Math.abs(measured / foretold - 1) <= TOLERANCE) return;
  }
  assert.fail(told.join('; '));
}

async function crowd(): Promise<{ readonly makespan_s: number; readonly failures: number }> {
  await using dir = await TempDir.create('cross-check');
  const { results } = await runCrowd({
    settings: {
      nodes: NODES,
      layers: LAYERS,
      link: RATE,
      registry: RATE,
      start: { kind: 'simultaneous' },
      zones: ZONES,
      kill: 0,
      slow: 0,
      loss: 0,
      repeat: 1,
      seed: 1,
      systems: ['weir'],
      runtime: 'fetch',
      loopback: false,
      logLevel: 'info',
      binaries: {},
    },
    out: dir.path,
    say: () => undefined,
    signal: AbortSignal.timeout(5 * MINUTE),
  });
  const [result] = results;
  assert.ok(result !== undefined);
  return result;
}
