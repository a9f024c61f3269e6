/** The serving side against malformed requests, slow readers, and its own failures. */
import assert from 'node:assert/strict';
import type { ServedChunk } from '../../../src/transfer/chunk-exchange.ts';
import { fileOf } from '../../support/file-content.ts';
import {
  ask,
  askFails,
  askChunk,
  makeBytes,
  makeNode,
  REGISTRY,
  requestFor,
  Scene,
  serveChunk,
} from './fixture.ts';
import { exchangeRaw, rawSocket, requestText } from './raw.ts';

const { swarm } = requestFor();
const PATH = `/weir/1/blobs/${swarm.digest}`;
const TARGET = `${PATH}?registry=${encodeURIComponent(REGISTRY)}`;
const OWNER = 'Weir-Home: team/app\r\n';

function text(target: string, headers = '', method = 'GET', rest = ''): string {
  return `${method} ${target} HTTP/1.1\r\nHost: weir\r\n${headers}\r\n${rest}`;
}

const ANY_BYTES = Buffer.alloc(8 << 20);

const chunkOf = (start: number, end: number, size: number): ServedChunk => ({
  kind: 'chunk',
  size,
  start,
  end,
  attestation: undefined,
  body: ANY_BYTES,
  close: () => {},
});

const NONSENSE: readonly (readonly [what: string, request: string, status: number])[] = [
  ['no path of this protocol', text('/'), 400],
  ['another version', text(TARGET.replace('/1/', '/2/')), 400],
  ['no registry', text(PATH), 400],
  ['two registries', text(`${TARGET}&registry=x`), 400],
  ['a registry that is none', text(`${PATH}?registry=a%20b`), 400],
  ['half an escape', text(`${PATH}?registry=%e0%a4%a`), 400],
  ['a path out of the folder', text(`/weir/1/blobs/../../etc/passwd?registry=x`), 400],
  ['a digest that is none', text('/weir/1/blobs/sha256:abc?registry=x'), 400],
  ['an absolute target', text(`http://weir${TARGET}`), 400],
  ['an open range', text(TARGET, 'Range: bytes=0-\r\n'), 400],
  ['the last bytes', text(TARGET, 'Range: bytes=-5\r\n'), 400],
  ['a range backwards', text(TARGET, 'Range: bytes=5-4\r\n'), 400],
  ['two ranges', text(TARGET, 'Range: bytes=0-1,3-4\r\n'), 400],
  ['two Range headers', text(TARGET, 'Range: bytes=0-1\r\nRange: bytes=0-1\r\n'), 400],
  ['a range of more than 8 MiB', text(TARGET, `Range: bytes=0-${8 << 20}\r\n`), 400],
  ['a range beyond any blob', text(TARGET, `Range: bytes=${2 ** 40}-${2 ** 40}\r\n`), 400],
  ['a number with zeros in front', text(TARGET, 'Range: bytes=00-1\r\n'), 400],
  ['an owner header that is no repository', text(TARGET, 'Weir-Home: A B\r\n'), 400],
  ['two owner headers', text(TARGET, OWNER + OWNER), 400],
  ['a size that is none', text(TARGET, `${OWNER}Weir-Size: 1e3\r\n`), 400],
  ['a blob that ends before the range', text(TARGET, `${OWNER}Range: bytes=0-99\r\nWeir-Size: 99\r\n`), 400],
  ['a token without an owner header', text(TARGET, 'Authorization: Bearer abc\r\n'), 400],
  ['Basic', text(TARGET, `${OWNER}Authorization: Basic YTpi\r\n`), 400],
  ['a token with a space', text(TARGET, `${OWNER}Authorization: Bearer a b\r\n`), 400],
  ['a body', text(TARGET, 'Content-Length: 3\r\n', 'GET', 'abc'), 400],
  ['a body in chunks', text(TARGET, 'Transfer-Encoding: chunked\r\n', 'GET', '3\r\nabc\r\n0\r\n\r\n'), 400],
  ['an expectation', text(TARGET, 'Expect: 100-continue\r\n'), 400],
  ['another expectation', text(TARGET, 'Expect: miracles\r\n'), 400],
  ['an upgrade', text(TARGET, 'Connection: upgrade\r\nUpgrade: h2c\r\n'), 400],
  ['no Host', `GET ${TARGET} HTTP/1.1\r\n\r\n`, 400],
  ['no HTTP', '\x16\x03\x01\r\n\r\n', 400],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ['POST', text(TARGET, '', 'POST'), 405],
  ['HEAD', text(TARGET, '', 'HEAD'), 405],
  ['a long target', text(`${TARGET}${'a'.repeat(1000)}`), 414],
  ['long headers', text(TARGET, `A: ${'b'.repeat(30_000)}\r\n`), 431],
  ['many headers', text(TARGET, 'A: b\r\n'.repeat(10_000)), 431],
];

describe('the data port', () => {
  for (const [what, request, status] of NONSENSE) {
    it(`answers ${status} to ${what}, without asking the source`, async () => {
      let asked = 0;
      await using scene = await Scene.start({
        serve: async () => {
          asked += 1;
          return { kind: 'absent' };
        },
      });
      const [at = { host: '', port: 0 }] = scene.member.dataAddresses;
      const answer = await exchangeRaw(at, request, { node: scene.asking });
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1, answer);
      assert.match(answer, /content-length: 0\r\n/i);
      assert.equal(asked, 0);
    });
  }

  it('closes an unused connection without an answer: a request may be on its way', async function () {
    this.slow(50_000);
    await using scene = await Scene.start();
    const [at = { host: '', port: 0 }] = scene.member.dataAddresses;
    assert.equal(await exchangeRaw(at, '', { node: scene.asking, patience: 40_000 }), '');
    const half = requestText().slice(0, 20);
    assert.equal(await exchangeRaw(at, half, { node: scene.asking, patience: 40_000 }), '');
  }).timeout(90_000);

  it('does not let CONNECT through', async () => {
    await using scene = await Scene.start();
    const [at = { host: '', port: 0 }] = scene.member.dataAddresses;
    assert.equal(await exchangeRaw(at, text('example.com:80', '', 'CONNECT'), { node: scene.asking }), '');
  });

  it('serves at most two requests at a time to a peer that does not wait for answers', async () => {
    let asked = 0;
    await using scene = await Scene.start({
      serve: () => {
        asked += 1;
        return new Promise(() => {});
      },
    });
    const [at = { host: '', port: 0 }] = scene.member.dataAddresses;
    assert.equal(await exchangeRaw(at, requestText().repeat(500), { node: scene.asking }), '');
    assert.equal(asked, 2);
  });

  it('writes no answer into the middle of another', async () => {
    await using scene = await Scene.start({ maxUpload: 1 << 20 });
    const [at = { host: '', port: 0 }] = scene.member.dataAddresses;
    const answer = await exchangeRaw(at, `${requestText('', 0, 900_000)}garbage\r\n\r\n`, {
      node: scene.asking,
    });
    assert.ok((answer.match(/HTTP\/1\.1/g)?.length ?? 0) <= 1);
    assert.ok(answer.length < 900_000);
  });

  it('cuts off a reader that takes no bytes', async () => {
    const closed: boolean[] = [];
    const bytes = makeBytes();
    const node = makeNode();
    await using scene = await Scene.start({
      readerTimeout: 100,
      serve: async (_from, request) => {
        const chunk = serveChunk(bytes, request, node.identity, closed);
        // More than all buffers on the way can hold.
        return chunk.kind === 'chunk' ? { ...chunk, size: 8 << 20, body: fileOf(ANY_BYTES) } : chunk;
      },
    });
    const [at = { host: '', port: 0 }] = scene.member.dataAddresses;
    const socket = rawSocket(at, { node: scene.asking });
    socket.pause();
    socket.write(requestText('', 0, 8 << 20));
    while (scene.reports.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(scene.reports[0]?.error?.code, 'aborted');
    assert.deepEqual(closed, [false]);
    socket.destroy();
  });

  it('answers that it failed if reading fails, or cuts an answer that has begun', async () => {
    const bytes = makeBytes();
    const node = makeNode();
    for (const failsAt of [0, 262_144]) {
      const closed: boolean[] = [];
      await using scene = await Scene.start({
        serve: async (_from, request) => {
          const chunk = serveChunk(bytes, request, node.identity, closed);
          if (chunk.kind !== 'chunk') return chunk;
          // The file ends there.
          return { ...chunk, body: fileOf(bytes.subarray(0, failsAt)) };
        },
      });
      const { error, events } = await ask(scene.client, scene.member, requestFor(0, 1_000_000));
      assert.equal(error?.code, 'peer_cut');
      assert.deepEqual(events, failsAt === 0 ? ['failed'] : ['acknowledged', 'progressed', 'failed']);
      while (scene.reports.length === 0) await new Promise(setImmediate);
      assert.equal(scene.reports[0]?.error?.code, 'store_corrupt');
      assert.deepEqual(closed, [false]);
    }
  });

  it('does not send bytes that were not requested', async () => {
    const wrong = [chunkOf(1, 100, 1000), chunkOf(0, 99, 1000), chunkOf(0, 101, 1000), chunkOf(0, 100, 99)];
    const left = [...wrong];
    await using scene = await Scene.start({ serve: async () => left.shift() ?? chunkOf(0, 1, 1) });
    for (const _ of wrong) await askFails('peer_cut', scene.client, scene.member, requestFor(0, 100));
    const whole = [chunkOf(0, 99, 100), chunkOf(1, 100, 100), chunkOf(0, 5 << 20, 5 << 20)];
    left.push(...whole);
    for (const _ of whole) await askFails('peer_cut', scene.client, scene.member, requestFor());
  });

  it('answers 500 if the source throws, and goes on', async () => {
    let calls = 0;
    await using scene = await Scene.start({
      serve: async () => {
        calls += 1;
        if (calls === 1) throw new Error('a bug');
        return { kind: 'absent' };
      },
    });
    await askFails('peer_cut', scene.client, scene.member, requestFor(0, 1));
    assert.equal((await ask(scene.client, scene.member, requestFor(0, 1))).answer?.kind, 'absent');
    assert.equal(scene.reports[0]?.error?.code, 'internal');
  });

  it('bounds the numbers in its answers', async () => {
    const holders = Array.from({ length: 9 }, () => makeNode().peer);
    const answers: ServedChunk[] = [
      { kind: 'busy', load: 1e12 },
      { kind: 'retry', after: 1e9 },
      { kind: 'retry', after: 0.5 },
      { kind: 'redirect', holders },
    ];
    await using scene = await Scene.start({ serve: async () => answers.shift() ?? { kind: 'absent' } });
    const owner = { repository: 'a/b' as never, token: undefined };
    const got: unknown[] = [];
    while (answers.length > 0)
      got.push((await ask(scene.client, scene.member, requestFor(0, 1, { owner }))).answer);
    assert.deepEqual(got, [
      { kind: 'busy', load: 1_000_000 },
      { kind: 'retry', after: 60_000 },
      { kind: 'retry', after: 1 },
      { kind: 'redirect', holders: holders.slice(0, 3) },
    ]);
  });

  it('is closed at once, even while it is sending', async () => {
    const scene = await Scene.start({ maxUpload: 1 << 20 });
    const asked = ask(scene.client, scene.member, requestFor(0, 3_000_000));
    while (scene.server.connections === 0) await new Promise(setImmediate);
    await scene.server[Symbol.asyncDispose]();
    const { error } = await asked;
    assert.ok(error?.code === 'peer_cut' || error?.code === 'peer_unreachable');
    await askFails('peer_unreachable', scene.client, scene.member, requestFor(0, 1));
    await scene.client[Symbol.asyncDispose]();
  });
});

const RATE = 8 << 20;
const seconds = async (scene: Scene): Promise<number> => {
  const began = performance.now();
  await Promise.all([0, 1, 2].map((i) => askChunk(scene.client, scene.member, requestFor(i, i + (1 << 20)))));
  return (performance.now() - began) / 1000;
};

describe('limits of rates', () => {
  it('hold for all uploads together', async () => {
    await using scene = await Scene.start({ maxUpload: RATE });
    const taken = await seconds(scene);
    assert.ok(taken > 0.25 && taken < 1.5, `${taken} s for 3 MiB at 8 MiB/s`);
  });

  it('hold for all downloads together, with TLS and without', async () => {
    for (const isSecure of [true, false]) {
      await using scene = await Scene.start({ isSecure, client: { maxDownload: RATE } });
      const taken = await seconds(scene);
      assert.ok(taken > 0.25 && taken < 1.5, `${taken} s for 3 MiB at 8 MiB/s`);
    }
  });

  it('share the rate among transfers at the same time', async () => {
    // Large, beside the bytes of 50 ms that are not reported yet and the time between the starts of the three.
    const length = 6_000_000;
    const blob = makeBytes(length + 3);
    const { identity } = makeNode();
    await using scene = await Scene.start({
      maxUpload: RATE,
      serve: (_from, request) => Promise.resolve(serveChunk(blob, request, identity)),
    });
    const received = [0, 0, 0];
    const done = Promise.withResolvers<void>();
    const cancels = received.map((_, i) =>
      scene.client.fetch(scene.member, requestFor(i, i + length), {
        connecting: () => {},
        sent: () => {},
        acknowledged: () => {},
        progressed: (bytes) => (received[i] = (received[i] ?? 0) + bytes),
        answered: () => done.resolve(),
        failed: done.reject,
      }),
    );
    await done.promise;
    for (const cancel of cancels) cancel();
    assert.ok(Math.min(...received) > 0.75 * length, received.join());
  });
});
