import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { WeirError } from '../../../src/util/errors.ts';
import { Breaker } from '../../../src/upstream/breaker.ts';
import { isRetryable, parseRetryAfter, retryDelay } from '../../../src/upstream/retry.ts';

function status(code: number, more = {}): WeirError {
  return new WeirError('upstream_status', '', { detail: { status: code, ...more } });
}

describe('upstream: retry', () => {
  it('waits between nothing and an exponential bound, at most 2 s', () => {
    fc.assert(
      fc.property(fc.nat(60), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
        const wait = retryDelay(attempt, random);
        assert.ok(wait >= 0 && wait <= Math.min(2000, 100 * 2 ** attempt));
      }),
    );
  });

  it('waits as long as the registry asks, at most 10 s and a tenth', () => {
    assert.equal(retryDelay(0, 0, 3000), 3000);
    assert.equal(retryDelay(9, 0.5, 60_000), 10_500);
  });

  it('reads Retry-After as seconds and as a date', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    assert.equal(parseRetryAfter('3', now), 3000);
    assert.equal(parseRetryAfter('Thu, 01 Jan 2026 00:00:04 GMT', now), 4000);
    assert.equal(parseRetryAfter('Thu, 01 Jan 2020 00:00:04 GMT', now), 0);
    assert.equal(parseRetryAfter('86400', now), 10_000);
    for (const wrong of [undefined, '', '-1', '1.5', 'soon', '2026-01-01']) {
      assert.equal(parseRetryAfter(wrong, now), undefined);
    }
  });

  it('retries only temporary failures', () => {
    assert.ok(isRetryable(status(502)));
    assert.ok(isRetryable(status(408)));
    assert.ok(!isRetryable(status(400)));
    assert.ok(!isRetryable(status(403)));
    assert.ok(isRetryable(status(403, { elsewhere: 1 })));
    assert.ok(isRetryable(new WeirError('upstream_cut', '')));
    assert.ok(!isRetryable(new WeirError('upstream_unauthorized', '')));
    assert.ok(!isRetryable(new WeirError('aborted', '')));
  });
});

describe('upstream: breaker', () => {
  const origin = 'https://registry.test';
  const down = new WeirError('upstream_unreachable', 'down', { detail: { origin } });

  it('opens for 2 s after an endpoint did not answer, with the same code', () => {
    let now = 0;
    const breaker = new Breaker({ monotonic: () => now });
    breaker.check(origin);
    breaker.failed(origin, down);
    assert.throws(() => breaker.check(origin), { code: 'upstream_unreachable' });
    assert.doesNotThrow(() => breaker.check('https://other.test'));
    now = 1999;
    assert.throws(() => breaker.check(origin), { code: 'upstream_unreachable' });
    now = 2000;
    assert.doesNotThrow(() => breaker.check(origin));
  });

  it('stays closed for error statuses, and for failures of other origins', () => {
    const breaker = new Breaker({ monotonic: () => 0 });
    breaker.failed(origin, new WeirError('upstream_status', '', { detail: { origin } }));
    breaker.failed(
      origin,
      new WeirError('upstream_timeout', '', { detail: { origin: 'https://storage.test' } }),
    );
    assert.doesNotThrow(() => breaker.check(origin));
  });

  it('closes after an answer', () => {
    const breaker = new Breaker({ monotonic: () => 0 });
    breaker.failed(origin, down);
    breaker.answered(origin);
    assert.doesNotThrow(() => breaker.check(origin));
  });
});
