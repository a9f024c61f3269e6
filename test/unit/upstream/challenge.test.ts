import assert from 'node:assert/strict';
import * as fc from 'fast-check';
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

  it('reads what other clients read, although it breaks the grammar', () => {
    const token = { realm: 'http://t/token', service: 'r' };
    const headers: readonly (readonly [string, unknown])[] = [
      ['Basic realm=/', [['basic', { realm: '/' }]]],
      ['Basic realm=https://reg/', [['basic', { realm: 'https://reg/' }]]],
      ['Bearer realm="http://t/token" service="r"', [['bearer', token]]],
      ['Bearer realm="http://t/token"; service="r"', [['bearer', token]]],
      ['Bearer realm=http://t/token,service=r', [['bearer', token]]],
      ['Bearer service=reg.test:443', [['bearer', { service: 'reg.test:443' }]]],
      ['Bearer scope=repository:x:pull', [['bearer', { scope: 'repository:x:pull' }]]],
      ['Basic realm="a"; charset="UTF-8"', [['basic', { realm: 'a', charset: 'UTF-8' }]]],
      ['Bearer realm="http://t/token",scope=""', [['bearer', { realm: 'http://t/token', scope: '' }]]],
      ['=x, Basic realm="a"', [['basic', { realm: 'a' }]]],
    ];
    for (const [header, challenges] of headers) assert.deepEqual(simple(header), challenges, header);
    const [first] = simple('Bearer realm="http://t/token",error_description=not logged in');
    assert.deepEqual(first, ['bearer', { realm: 'http://t/token', error_description: 'not' }]);
    assert.deepEqual(simple('Basic realm=My Registry')[0], ['basic', { realm: 'My' }]);
  });

  it('reads no more than the bounds allow', () => {
    assert.deepEqual(simple('x'.repeat(9000)), []);
    assert.equal(simple('Basic, '.repeat(20)).length, 8);
  });

  it('ends for any input', () => {
    const tokens = fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'realm', '\t', 'a', '==', ';', 'é');
    const text = fc.oneof(
      fc.string(),
      fc.array(tokens, { maxLength: 40 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (header) => {
        assert.ok(parseChallenges(header).length <= 8);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes linear time for hostile input', () => {
    const start = performance.now();
    for (const part of ['"', 'a=', ',', ' ,', 'a ', '\\"', '=']) {
      parseChallenges(`Bearer a="${part.repeat(8000 / part.length)}`);
      parseChallenges(`B ${part.repeat(8000 / part.length)}`);
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
