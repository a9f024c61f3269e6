/** Answers of registries and their token servers. */
import assert from 'node:assert/strict';
import { validateHeaderValue } from 'node:http';
import { isIPv4 } from 'node:net';
import type { Dispatcher } from 'undici';
import { systemClock } from '../../../src/util/clock.ts';
import type { ErrorCode } from '../../../src/util/errors.ts';
import {
  parseRegistryHost,
  tryParseRegistryHost,
  tryParseRepositoryName,
} from '../../../src/oci/repository.ts';
import { addressKind, checkHost, hostKind, isAllowed } from '../../../src/upstream/address-guard.ts';
import {
  contentLength,
  contentRange,
  expectStatus,
  isGzipped,
  unsatisfiedTotal,
} from '../../../src/upstream/registry-answer.ts';
import { callerOf, type Caller } from '../../../src/upstream/caller.ts';
import { formatChallenges, parseChallenges } from '../../../src/upstream/challenge.ts';
import { RegistryCall } from '../../../src/upstream/registry-call.ts';
import { endpointsOf, requestTarget } from '../../../src/upstream/endpoint.ts';
import { Reaches } from '../../../src/upstream/reach.ts';
import { follow, type Hop } from '../../../src/upstream/redirect.ts';
import type { Response } from '../../../src/upstream/response.ts';
import type { SendOptions } from '../../../src/upstream/send.ts';
import { parseRetryAfter, retryDelay } from '../../../src/upstream/retry.ts';
import { PoolTransport } from '../../../src/upstream/transport.ts';
import { TokenSource } from '../../../src/upstream/token.ts';
import type { Run } from '../harness/target.ts';
import { pure, settledUnlessRefused, splitLine, unlessRefused } from '../harness/target.ts';
import { answersOf, BETWEEN, Script } from './answers.ts';
import { SECRET } from './samples.ts';

const REGISTRY = parseRegistryHost('registry.example');
const NAME = tryParseRepositoryName('team/app') ?? assert.fail();
const REALM = 'https://auth.example/token';
const CHALLENGE = `Bearer realm="${REALM}",service="registry.example",scope="repository:team/app:pull"`;
const reaches = new Reaches(new Map(), true);
const [endpoint = assert.fail()] = endpointsOf(REGISTRY, new Map());

/** Addresses that no answer may lead to. Written differently from the guard that is tested. */
const FORBIDDEN =
  /^(?:(?:127|0|22[4-9]|23\d)(?:\.\d+){3}$|169\.254(?:\.\d+){2}$|168\.63\.129\.16$|100\.100\.100\.200$|\[::1?\]$|\[fe[89ab]|\[ff|\[::ffff:(?:7f|a9fe:)|localhost\.*$|.*\.localhost\.*$|metadata\.google\.internal\.*$)/;

export const challenge = pure({
  name: 'challenge',
  seeds: [
    CHALLENGE,
    'Basic realm="a \\"b\\"", Bearer realm=x,error="invalid_token"',
    'Negotiate, NTLM abc==, Basic',
    ', ,Digest a=b , c="d"',
  ],
  words: ['Bearer ', 'Basic ', 'realm=', 'realm="', '",', '\\"', '\\', ' = ', ', ', 'scope="', 'error="'],
  run: (input) => {
    const header = input.toString('latin1');
    const read = unlessRefused(['upstream_protocol'], () => parseChallenges(header));
    if (read === undefined) return;
    const written = formatChallenges(read);
    // Escapes take room: a header near the bound may exceed it when formatted.
    const again = unlessRefused(['upstream_protocol'], () => parseChallenges(written));
    if (written.length <= 8192) assert.deepEqual(again, read);
  },
});

const callRun: Run = async (input) => {
  const script = new Script(answersOf(input));
  const seen: { readonly origin: string; readonly authorization: string }[] = [];
  const pools: ConstructorParameters<typeof PoolTransport>[0] = {
    isLenient: () => false,
    makeLenient: () => undefined,
    get: (origin, _tls, _lane, reach) => {
      checkHost(origin, reach);
      assert.doesNotMatch(new URL(origin).hostname, FORBIDDEN);
      const { dispatcher } = script;
      const dispatch: typeof dispatcher.dispatch = (options, handler) => {
        const headers = (options as unknown as SendOptions).headers;
        for (const [name, value] of Object.entries(headers)) validateHeaderValue(name, value);
        seen.push({ origin, authorization: headers['authorization'] ?? '' });
        return dispatcher.dispatch(options, handler);
      };
      return { dispatch } as unknown as Dispatcher;
    },
  };
  const control = new PoolTransport(pools, 'control');
  const call = new RegistryCall({
    warn: () => undefined,
    control,
    reaches,
    registries: new Map(),
    dockerConfig: undefined,
    clock: systemClock,
    observer: undefined,
    headers: {},
  });
  const callers: readonly Caller[] = [
    callerOf(REGISTRY, { kind: 'bearer', token: SECRET }),
    'configured',
    callerOf(REGISTRY, { kind: 'basic', username: 'me', password: SECRET }),
  ];
  const codes: readonly ErrorCode[] = [
    'upstream_unauthorized',
    'upstream_protocol',
    'upstream_status',
    'upstream_throttled',
    'upstream_too_large',
    'address_refused',
  ];
  for (const caller of callers) {
    seen.length = 0;
    const request = {
      endpoint,
      caller,
      kind: 'manifest',
      method: 'GET',
      target: requestTarget(endpoint, NAME, 'manifests/latest'),
      name: NAME,
      headers: { accept: '*/*' },
      signal: undefined,
    } as const;
    const followed = await settledUnlessRefused(codes, () => call.run(request, control));
    followed?.response.discard();
    // Four requests, a token for three of them, and five redirects of each.
    assert.ok(seen.length <= 7 * 6, `${seen.length} requests`);
    const away = seen.filter(({ origin }) => origin !== endpoint.origin);
    if (typeof caller !== 'string' && caller.kind === 'bearer')
      assert.ok(
        away.every(({ authorization: sent }) => sent === ''),
        'a token went elsewhere',
      );
  }
};

export const registryCall = pure({
  name: 'registry-call',
  seeds: [
    ['200\n\n{}'],
    [`401\nwww-authenticate: ${CHALLENGE}\n`, '200\n\n{"token":"abc","expires_in":300}', '200\n\n{}'],
    [`401\nwww-authenticate: ${CHALLENGE}\n`, '401\n', '403\n'],
    ['307\nlocation: https://storage.example/x?sig=1\n', '200\ncontent-length: 2\n\n{}'],
    ['401\nwww-authenticate: Basic realm="x"\n', '200\n'],
    [`401\nwww-authenticate: ${CHALLENGE},error="insufficient_scope"\n`, '307\nlocation: //auth.example/t\n'],
    [`401\nwww-authenticate: Bearer realm="http://127.0.0.1:80/"\n`, '200\n\n{"token":"a"}'],
  ].map((answers) => answers.join(BETWEEN)),
  words: [
    BETWEEN,
    '401\n',
    '200\n',
    '307\nlocation: ',
    `www-authenticate: ${CHALLENGE}\n`,
    '{"token":"x"}',
    'http://169.254.169.254/',
  ],
  run: callRun,
});

export const token = pure({
  name: 'token',
  seeds: [
    '200\ncontent-type: application/json\n\n{"token":"abc","access_token":"def","expires_in":60}',
    '200\n\n{"access_token":"x","expires_in":1e308}',
    '200\nx-small: 1\n\n{"token":"abc"}',
    '200\nx-long: 1\n\n{"token":"abc"}',
    '429\nretry-after: 5\n',
    '503\n\nbusy',
  ],
  words: ['"token":', '"access_token":', '"expires_in":', '-1', 'null', '"\\r\\n"', '"\\u0000"'],
  run: async (input) => {
    const script = new Script(answersOf(input));
    const source = new TokenSource(systemClock);
    const context = {
      send: (hop: Hop) =>
        script.send({ origin: hop.url.origin, method: hop.method, path: hop.url.pathname, headers: {} }),
      from: new URL(endpoint.origin),
      caller: 'configured',
    } as const;
    const codes = [
      'upstream_unauthorized',
      'upstream_protocol',
      'upstream_throttled',
      'upstream_status',
      'upstream_too_large',
    ] as const;
    const request = { realm: REALM, service: undefined, scope: '' };
    const issued = await settledUnlessRefused(codes, () => source.get(request, undefined, context));
    if (issued === undefined) return;
    assert.match(issued.token, /^[\x21-\x7e]+$/);
    validateHeaderValue('authorization', `Bearer ${issued.token}`);
  },
});

/** The answer to a hop, through the real chain: first the reach, then the host. */
async function sendTo({ url, from }: Hop, script: Script): Promise<Response> {
  checkHost(url.origin, reaches.of({ url, from, endpoint, caller: 'configured' }));
  if (url.origin !== endpoint.origin) assert.doesNotMatch(url.hostname, FORBIDDEN);
  return script.send({ origin: url.origin, method: 'GET', path: url.pathname, headers: {} });
}

export const redirect = pure({
  name: 'redirect',
  seeds: [
    'https://storage.example/bucket/x?sig=1#a',
    '//127.0.0.1:4771/v1/status',
    '/v2/elsewhere',
    'http://[::ffff:169.254.169.254]/latest/meta-data/',
    'https://user:pass@storage.example/',
    'https://0x7f.1/\nhttps://2130706433/\nhttps://127.1/\nhttps://[64:ff9b::7f00:1]/',
    'https://localhost./\nhttps://a.localhost/\nhttps://metadata.google.internal./',
    'https://１２７.0.0.1/',
  ],
  words: [
    'https://',
    'http://',
    '127.0.0.1',
    '[::1]',
    '[::ffff:7f00:1]',
    '169.254.169.254',
    'localhost',
    '@',
    '\n',
    '%',
    '.',
  ],
  run: async (input) => {
    const locations = input.toString('utf8').split('\n');
    const answers = locations.map((location) => ({
      status: 307,
      headers: { location },
      body: Buffer.alloc(0),
    }));
    const script = new Script([...answers, { status: 200, headers: {}, body: Buffer.alloc(0) }]);
    const start: Hop = {
      url: new URL('https://registry.example/v2/'),
      method: 'GET',
      headers: { authorization: SECRET },
    };
    let hops = 0;
    const sendHop = (next: Hop): Promise<Response> => {
      hops++;
      if (next.url.origin !== start.url.origin) assert.equal(next.headers['authorization'], undefined);
      return sendTo(next, script);
    };
    await settledUnlessRefused(['upstream_protocol', 'address_refused'], () =>
      follow(start, sendHop, { isPlainAllowed: false, registry: REGISTRY }),
    );
    assert.ok(hops <= 10, `${hops} hops`);
  },
});

export const address = pure({
  name: 'address',
  seeds: [
    '127.0.0.1',
    '10.1.2.3',
    '::1',
    '::ffff:127.0.0.1',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    'fe80::1%eth0',
    '2001:0:1:2:3:4:5:6',
    'localhost.',
    'fd00:ec2::254',
  ],
  words: ['::', ':', '.', '127', '169.254', '::ffff:', '64:ff9b:', '%', '2002:', '[', ']', 'localhost'],
  run: (input) => {
    const text = input.toString('latin1').trim();
    const kind = addressKind(text);
    hostKind(text);
    if (isIPv4(text)) {
      // In any wrapping, it is worth no more than by itself.
      for (const wrapped of [`::ffff:${text}`, `64:ff9b::${text}`, `::ffff:0:${text}`]) {
        const other = addressKind(wrapped);
        if (!isAllowed(kind, 'network')) assert.ok(!isAllowed(other, 'network'), `${wrapped} is ${other}`);
      }
    }
    const host = tryParseRegistryHost(text);
    if (host === undefined) return;
    const [own = assert.fail()] = unlessRefused(['name_invalid'], () => endpointsOf(host, new Map())) ?? [
      endpoint,
    ];
    assert.ok(URL.canParse(own.origin), own.origin);
  },
});

export const answer = pure({
  name: 'answer',
  seeds: [
    '206\ncontent-range: bytes 0-99/1000\ncontent-length: 100\ncontent-encoding: identity\n',
    '416\ncontent-range: bytes */1000\n',
    '429\nretry-after: 120\n',
    '503\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT\n',
    '200\ncontent-encoding: gzip\ncontent-length: 5\ncontent-length: 5\n\nhello',
  ],
  words: [
    'content-range: bytes ',
    'content-length: ',
    'retry-after: ',
    '-',
    '/',
    '*',
    'content-encoding: ',
    'Wed, ',
  ],
  run: async (input) => {
    const [first = assert.fail()] = answersOf(input);
    const response = await new Script([first]).send({
      origin: 'https://a.example',
      method: 'GET',
      path: '/',
      headers: {},
    });
    const range = contentRange(response);
    if (range !== undefined) {
      const { start, end, total } = range;
      assert.ok([start, end, total].every(Number.isSafeInteger) && start < end && end <= total);
    }
    const sizes = [
      unlessRefused(['upstream_protocol'], () => contentLength(response)),
      unsatisfiedTotal(response),
    ];
    assert.ok(sizes.every((size) => size === undefined || (Number.isSafeInteger(size) && size >= 0)));
    unlessRefused(['upstream_protocol'], () => isGzipped(response, 10));
    const wait = parseRetryAfter(response.header('retry-after'), 1_800_000_000_000);
    if (wait !== undefined) {
      const delay = retryDelay(3, 0.5, wait);
      assert.ok(delay >= 0 && delay < 20_000, String(delay));
    }
    const codes = ['blob_unknown', 'upstream_denied', 'upstream_throttled', 'upstream_status'] as const;
    unlessRefused(codes, () =>
      expectStatus({ response, isElsewhere: false }, [200, 206], 'blob_unknown', systemClock),
    );
    const [line] = splitLine(input);
    parseRetryAfter(line, 0);
    response.discard();
  },
});
