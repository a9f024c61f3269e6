/** The data port in byte workers: two real threads that listen on one port. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Address } from '../../../src/protocol/member.ts';
import { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { Http } from '../../../src/bytes/http.ts';
import type { ChunkSource, ServedChunk } from '../../../src/transfer/chunk-exchange.ts';
import { Progress } from '../../../src/util/progress.ts';
import { fileOf } from '../../support/file-content.ts';
import { makeBytes, makeNode, Scene, serveChunk, type SceneOptions } from '../transfer/fixture.ts';
import { exchangeRaw, rawSocket, requestText } from '../transfer/raw.ts';

const BYTES = makeBytes();
const MIB = 1 << 20;
const CONNECTIONS = 12;
const CLOSE = 'Connection: close\r\n';

type Chunk = Extract<ServedChunk, { kind: 'chunk' }>;

describe('byte workers: data port', () => {
  let stack: AsyncDisposableStack;
  let workers: ByteWorkers;
  let scene: Scene;

  beforeEach(() => {
    stack = new AsyncDisposableStack();
    workers = stack.use(new ByteWorkers({ count: 2 }));
  });

  afterEach(() => stack.disposeAsync());

  async function start(options: SceneOptions = {}): Promise<Address> {
    scene = stack.use(await Scene.start({ http: new Http(workers), ...options }));
    return scene.member.dataAddresses[0] ?? assert.fail();
  }

  /** Serves chunks of {@link BYTES} that are changed by the test. */
  function changed(change: (chunk: Chunk) => Partial<Chunk>): ChunkSource['serve'] {
    const node = makeNode();
    return async (_from, request) => {
      const chunk = serveChunk(BYTES, request, node.identity);
      return chunk.kind === 'chunk' ? { ...chunk, ...change(chunk) } : chunk;
    };
  }

  const bodyOf = (answer: string): Buffer =>
    Buffer.from(answer.slice(answer.indexOf('\r\n\r\n') + 4), 'latin1');

  /** Answers to that many requests at once, each over a connection of its own. */
  function exchangeAll(at: Address, count: number, node = scene.asking): Promise<readonly string[]> {
    const requests = Array.from({ length: count }, (_, i) => requestText(CLOSE, i, i + MIB));
    return Promise.all(requests.map((text) => exchangeRaw(at, text, { node })));
  }

  it('gives each member right bytes over many connections, and a stranger no byte', async () => {
    const at = await start();
    const answers = await exchangeAll(at, CONNECTIONS);
    for (const [i, answer] of answers.entries()) {
      assert.match(answer, /^HTTP\/1\.1 206 /);
      assert.ok(bodyOf(answer).equals(BYTES.subarray(i, i + MIB)));
    }
    const others = await exchangeAll(at, CONNECTIONS, makeNode());
    assert.deepEqual([...new Set(others)], ['']);
    assert.deepEqual([...new Set(scene.refusals)], ['stranger']);
    assert.equal(scene.refusals.length, CONNECTIONS);
    assert.equal(scene.reports.length, CONNECTIONS);
    assert.ok(scene.reports.every(({ bytes, error }) => bytes === MIB && error === undefined));
  });

  it('counts the connections of a member over all workers', async () => {
    const at = await start();
    const sockets = Array.from({ length: 24 }, () => rawSocket(at, { node: scene.asking }));
    await Promise.all(sockets.map((socket) => once(socket, 'secureConnect')));
    while (scene.refusals.length < 8) await new Promise(setImmediate);
    assert.deepEqual([scene.server.connections, scene.refusals.length], [16, 8]);
    for (const socket of sockets) socket.destroy();
    while (scene.server.connections > 0) await new Promise(setImmediate);
  });

  it('keeps the limit on uploads over all workers', async () => {
    const at = await start({ maxUpload: 8 * MIB });
    const began = performance.now();
    await exchangeAll(at, 4);
    const seconds = (performance.now() - began) / 1000;
    assert.ok(seconds > 0.4, `4 MiB at 8 MiB/s took ${seconds} s`);
  });

  it('sends a chunk that is ahead of the prefix, and no byte of it once the blob is fetched anew', async () => {
    const progress = new Progress();
    const content = { ...fileOf(BYTES), progress: progress.memory, heldBack: MIB };
    const { generation: presentIn } = progress;
    const at = await start({ serve: changed(() => ({ body: content, presentIn })) });
    const [answer = ''] = await exchangeAll(at, 1);
    assert.ok(bodyOf(answer).equals(BYTES.subarray(0, MIB)));
    progress.restart();
    progress.advance(BYTES.length);
    progress.complete();
    const [refused = ''] = await exchangeAll(at, 1);
    assert.match(refused, /^HTTP\/1\.1 404 /);
    assert.equal(bodyOf(refused).length, 0);
    assert.equal(scene.reports.at(-1)?.error?.code, 'aborted');
  });

  it('stops a chunk whose file is to be closed, and tells when it is not read any more', async () => {
    const progress = new Progress();
    progress.advance(1000);
    const stop = new AbortController();
    const closed = Promise.withResolvers<boolean>();
    const body = { ...fileOf(BYTES), progress: progress.memory };
    const change = (): Partial<Chunk> => ({ body, stop: stop.signal, close: closed.resolve });
    const at = await start({ serve: changed(change) });
    const socket = rawSocket(at, { node: scene.asking });
    socket.write(requestText());
    socket.write(requestText('', 0, MIB));
    let received = 0;
    socket.on('data', (part: Buffer) => (received += part.length));
    await once(socket, 'data');
    const ended = once(socket, 'close');
    stop.abort();
    assert.equal(typeof (await closed.promise), 'boolean');
    await ended;
    assert.ok(received < 3000, `${received} bytes`);
  });

  it('a worker that ends cuts its connections, and another listens in its place', async () => {
    const at = await start();
    const sockets = Array.from({ length: CONNECTIONS }, () => rawSocket(at, { node: scene.asking }));
    await Promise.all(sockets.map((socket) => once(socket, 'secureConnect')));
    while (scene.server.connections < CONNECTIONS) await new Promise(setImmediate);
    const closed = sockets.map((socket) => once(socket, 'close'));
    await Promise.all([...workers.threads].map((thread) => thread.kill()));
    await Promise.all(closed);
    assert.equal(scene.server.connections, 0);
    let answers: readonly string[] = [''];
    while (answers.includes('')) answers = await exchangeAll(at, 1);
    assert.match(answers[0] ?? '', /^HTTP\/1\.1 206 /);
  });
});
