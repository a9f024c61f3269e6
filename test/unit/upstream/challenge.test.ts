import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { isWeirError } from '../../../src/util/errors.ts';
import { formatChallenges, parseChallenges, type Challenge } from '../../../src/upstream/challenge.ts';

function simple(header: string): readonly unknown[] {
  return parseChallenges(header).map(({ scheme, token68, parameters }) =>
    token68 === undefined ? [scheme, Object.fromEntries(parameters)] : [scheme, token68],
  );
}

function plain(list: readonly Challenge[]): unknown {
  return list.map(({ scheme, token68, parameters }) => [scheme, token68, ...parameters]);
}

describe('upstream: challenge', () => {
  it("reads Docker Hub's challenge", () => {
    const header =
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"';
    assert.deepEqual(simple(header), [
      [
        'bearer',
        {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:library/alpine:pull',
        },
      ],
    ]);
  });

  it('keeps commas and escapes of quoted strings', () => {
    assert.deepEqual(simple(String.raw`Bearer scope="repository:a:pull,push", realm = "a \"b\" \\ c"`), [
      ['bearer', { scope: 'repository:a:pull,push', realm: String.raw`a "b" \ c` }],
    ]);
  });

  it('reads several challenges, empty elements, token68 and bare schemes', () => {
    assert.deepEqual(
      simple(', Negotiate, NTLM abc123==, , Basic realm=simple , Bearer realm="x", error="y"'),
      [
        ['negotiate', {}],
        ['ntlm', 'abc123=='],
        ['basic', { realm: 'simple' }],
        ['bearer', { realm: 'x', error: 'y' }],
      ],
    );
  });

  it('reads the example of RFC 9110, section 11.6.1', () => {
    assert.deepEqual(
      simple('Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'),
      [
        ['basic', { realm: 'simple' }],
        ['newauth', { realm: 'apps', type: '1', title: 'Login to "apps"' }],
      ],
    );
  });

  it('refuses headers that break the grammar or the bounds', () => {
    const wrong = ['Bearer realm="open', '=x', 'Bearer "x"', 'Basic a="b" c="d"', 'Bearer a=b;c'];
    for (const header of [...wrong, 'x'.repeat(9000), 'Basic, '.repeat(20)]) {
      assert.throws(() => parseChallenges(header), { code: 'upstream_protocol' }, header.slice(0, 40));
    }
  });

  it('throws only WeirError, and ends, for any input', () => {
    const pieces = fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'realm', '\t', 'a', '==', ';', 'é');
    const text = fc.oneof(
      fc.string(),
      fc.array(pieces, { maxLength: 40 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (header) => {
        try {
          parseChallenges(header);
        } catch (error) {
          assert.ok(isWeirError(error, 'upstream_protocol'));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('takes linear time for hostile input', () => {
    const start = performance.now();
    for (const piece of ['"', 'a=', ',', ' ,', 'a ', '\\"', '=']) {
      assert.doesNotThrow(() => {
        try {
          parseChallenges(`Bearer a="${piece.repeat(8000 / piece.length)}`);
          parseChallenges(`B ${piece.repeat(8000 / piece.length)}`);
        } catch (error) {
          assert.ok(isWeirError(error));
        }
      });
    }
    assert.ok(performance.now() - start < 500);
  });

  it('reads back what it formatted', () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9_-]{0,10}$/);
    const value = fc.string({
      unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
    });
    const parameters = fc.array(fc.tuple(word, value), { maxLength: 5 }).map((entries) => new Map(entries));
    const challenge = fc.oneof(
      fc.record({ scheme: word, token68: fc.constant(undefined), parameters }),
      fc.record({
        scheme: word,
        token68: fc.stringMatching(/^[A-Za-z0-9._~+/-]{1,20}={0,2}$/),
        parameters: fc.constant(new Map<string, string>()),
      }),
    );
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 5 }), (challenges) => {
        const read = parseChallenges(formatChallenges(challenges));
        assert.deepEqual(plain(read), plain(challenges));
      }),
    );
  });
});
