import assert from 'node:assert/strict';
import { DAY, HOUR, SECOND } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { formatImageReference } from '../../../src/oci/reference.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { parseOrderRequest, type OrderRequest } from '../../../src/preheat/order-request.ts';
import { VirtualClock } from '../network/virtual-clock.ts';

const NOW = Date.parse('2026-11-30T12:00:00Z');
const HUB = parseRegistryHost('docker.io');

async function clockAt(now: number): Promise<VirtualClock> {
  const clock = new VirtualClock();
  await clock.advance(now);
  return clock;
}

describe('The body of POST /v1/preheats', () => {
  let clock: VirtualClock;
  before(async () => {
    clock = await clockAt(NOW);
  });

  const parse = (body: unknown): OrderRequest => parseOrderRequest(JSON.stringify(body), clock, HUB);
  const refused = (body: unknown, pattern: RegExp): void =>
    assert.throws(
      () => parse(body),
      (error: unknown) => {
        assert.ok(isWeirError(error, 'bad_request', 'reference_invalid', 'name_invalid'), String(error));
        assert.match(error.message, pattern);
        return true;
      },
    );

  it('needs images alone', () => {
    const { order, zone, nodes } = parse({
      images: ['alpine', 'docker.io/library/alpine:latest', 'ghcr.io/a/b:v1'],
    });
    assert.deepEqual(order.images.map(formatImageReference), [
      'docker.io/library/alpine:latest',
      'ghcr.io/a/b:v1',
    ]);
    assert.deepEqual([zone, nodes, order.platform], [undefined, { kind: 'all' }, undefined]);
    assert.deepEqual([order.starts, order.expires - order.starts, order.keep], [NOW, 6 * HOUR, 24 * HOUR]);
    assert.match(order.id, /^[0-9a-f]{32}$/);
    assert.notEqual(order.id, parse({ images: ['alpine'] }).order.id);
  });

  it('may name nodes, platform and times', () => {
    const at = '2026-11-30T14:30:00+01:00';
    const { order, zone, nodes } = parse({
      images: ['a'],
      zone: 'eu-1a',
      nodes: 2,
      platform: 'linux/arm64/v8',
      at,
      keep_seconds: 0,
    });
    assert.deepEqual([zone, nodes], ['eu-1a', { kind: 'count', value: 2 }]);
    assert.deepEqual(order.platform, { os: 'linux', architecture: 'arm64', variant: 'v8' });
    assert.deepEqual([order.starts, order.keep], [Date.parse(at), 0]);
    assert.equal(parse({ images: ['a'], delay_seconds: 90 }).order.starts, NOW + 90 * SECOND);
    // A time that is just past is now: a CronJob starts late.
    assert.equal(parse({ images: ['a'], at: '2026-11-30T11:59:00Z' }).order.starts, NOW);
  });

  it('is refused with the field that is wrong', () => {
    refused({}, /^images: /);
    refused({ images: [] }, /^images: names no image/);
    refused({ images: Array.from({ length: 65 }, (_, i) => `a${i}`) }, /^images: names more than 64 images/);
    refused({ images: ['a'], node: 2 }, /^node: /);
    refused({ images: ['a'], nodes: '0' }, /^nodes: allowed are/);
    refused({ images: ['a'], zone: 'a b' }, /^zone: is no zone/);
    refused({ images: ['a'], platform: 'linux' }, /not a platform/);
    refused({ images: ['a'], at: 'tomorrow' }, /^at: is no time/);
    refused({ images: ['a'], at: '2026-12-24T00:00:00Z' }, /^at: is more than 7 days ahead/);
    refused({ images: ['a'], at: '2026-11-29T00:00:00Z' }, /^at: is past/);
    refused({ images: ['a'], at: '2026-11-30T13:00:00Z', delay_seconds: 1 }, /not both/);
    refused({ images: ['a'], delay_seconds: (8 * DAY) / SECOND }, /^delay_seconds: /);
    refused({ images: ['a'], keep_seconds: (31 * DAY) / SECOND }, /^keep_seconds: /);
    refused({ images: ['UPPER'] }, /not a repository name/);
    refused('alpine', /^the order: /);
    assert.throws(() => parseOrderRequest('{', clock, HUB), /the order is not JSON/);
    const long = Array.from(
      { length: 64 },
      (_, i) => `ghcr.io/${'a'.repeat(240)}${i}:${'b'.repeat(128)}@sha256:${'c'.repeat(64)}`,
    );
    parse({ images: long }); // 64 long names still fit
    const longest = Array.from(
      { length: 64 },
      (_, i) => `${'r.'.repeat(120)}io/${'a'.repeat(240)}${i}:${'b'.repeat(128)}`,
    );
    refused({ images: longest }, /^images: names of more than 32768 characters/);
  });
});
