import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { GIB, HOUR, KIB, MIB, MINUTE, SECOND } from '../../../src/util/clock.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../../src/config/units.ts';

const refused = (parse: (text: string) => number, text: string, why: RegExp): void =>
  assert.throws(() => parse(text), { code: 'config_invalid', message: why }, JSON.stringify(text));

describe('Sizes', () => {
  const sizes: readonly (readonly [string, number])[] = [
    ['20GiB', 20 * GIB],
    ['20Gi', 20 * GIB],
    ['512MiB', 512 * MIB],
    ['1.5 KiB', 1536],
    ['100kB', 100_000],
    ['100KB', 100_000],
    ['20gb', 20e9],
    ['2TB', 2e12],
    ['1048576', MIB],
    ['12B', 12],
    [' 7 ', 7],
    ['0', 0],
    ['0.3kB', 300],
  ];
  for (const [text, bytes] of sizes) {
    it(`reads ${JSON.stringify(text)}`, () => assert.equal(parseSize(text), bytes));
  }

  it('refuses ambiguous units, with both ways to write them', () => {
    refused(parseSize, '20G', /ambiguous: write GB .* 1000 or GiB .* 1024/);
    refused(parseSize, '512m', /ambiguous: write MB/);
  });

  it('refuses a text that is no size', () => {
    refused(parseSize, '', /no size/);
    refused(parseSize, 'GiB', /no size/);
    refused(parseSize, '-1GiB', /negative/);
    refused(parseSize, '1e9', /no size/);
    refused(parseSize, '5 parsecs', /unknown unit "parsecs"/);
    refused(parseSize, '99999999TiB', /too large/);
    refused(parseSize, `1${'0'.repeat(400)}`, /no size/);
  });

  it('property: what is written is read back', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (bytes) => parseSize(formatSize(bytes)) === bytes));
    const round = fc.tuple(fc.nat(4000), fc.constantFrom(1, KIB, MIB, GIB, 1000, 1e6, 1e9));
    fc.assert(fc.property(round, ([count, unit]) => parseSize(formatSize(count * unit)) === count * unit));
  });

  it('property: any text gives a size or a config_invalid', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          return Number.isSafeInteger(parseSize(text));
        } catch (error) {
          return error instanceof Error && error.name === 'WeirError';
        }
      }),
    );
  });

  it('writes the shortest unit without loss', () => {
    assert.deepEqual([20 * GIB, 100_000, 12_345, 0, 1536].map(formatSize), [
      '20GiB',
      '100kB',
      '12345B',
      '0B',
      '1536B',
    ]);
  });
});

describe('Durations', () => {
  const durations: readonly (readonly [string, number])[] = [
    ['10s', 10 * SECOND],
    ['5m', 5 * MINUTE],
    ['24h', 24 * HOUR],
    ['1.5h', 90 * MINUTE],
    ['500ms', 500],
    ['2d', 48 * HOUR],
    ['10 seconds', 10 * SECOND],
    ['0s', 0],
  ];
  for (const [text, milliseconds] of durations) {
    it(`reads ${JSON.stringify(text)}`, () => assert.equal(parseDuration(text), milliseconds));
  }

  it('refuses a bare number, and says what to write', () => {
    refused(parseDuration, '10', /has no unit: write 10s or 10ms/);
    refused(parseDuration, '0', /has no unit/);
  });

  it('refuses a text that is no duration', () => {
    refused(parseDuration, '', /no duration/);
    refused(parseDuration, '-5s', /negative/);
    refused(parseDuration, '1h30m', /two units: write one, such as 90m/);
    refused(parseDuration, '5 parsecs', /no duration/);
    refused(parseDuration, `${'1'.repeat(200)}s`, /no duration/);
  });

  it('property: what is written is read back', () => {
    const millisecond = fc.oneof(
      fc.nat(24 * 24 * HOUR),
      fc.tuple(fc.nat(500), fc.constantFrom(SECOND, MINUTE, HOUR)).map(([count, unit]) => count * unit),
    );
    fc.assert(fc.property(millisecond, (duration) => parseDuration(formatDuration(duration)) === duration));
  });

  it('writes the largest unit without loss', () => {
    assert.deepEqual([10 * SECOND, 1500, 24 * HOUR, 72 * HOUR, 0].map(formatDuration), [
      '10s',
      '1500ms',
      '24h',
      '3d',
      '0s',
    ]);
  });
});
