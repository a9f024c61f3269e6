/** Bodies that are taken out of memory that is used again, over real sockets. */
import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { readTrusted, TrustStore } from '../../../src/upstream/trust.ts';
import { Pools } from '../../../src/upstream/pools.ts';
import { readPart } from '../../../src/upstream/blob-part.ts';
import type { BodyTaker, Response } from '../../../src/upstream/response.ts';
import { send } from '../../../src/upstream/send.ts';
import { KIB, MIB, SECOND } from '../../../src/util/clock.ts';
import { isWeirError, WeirError } from '../../../src/util/errors.ts';
import { CertificateAuthority } from '../../support/certificates.ts';
import { eventually } from '../../support/eventually.ts';
import { shared } from '../../support/fixture.ts';
import { HttpServer, type Handler } from '../../support/http-server.ts';
import { TempDir } from '../../support/temp.ts';

const BODY = randomBytes(8 * MIB + 321);
const DIGEST = digest(BODY);
const PROFILE = { caFiles: [], client: undefined, skipVerify: true };

for (const scheme of ['http', 'https'] as const) {
  describe(`upstream: bodies in memory that is used again, ${scheme}`, () => {
    const lab = shared(async (stack) => {
      const dir = stack.use(await TempDir.create('taken-body'));
      const authority = await CertificateAuthority.create(dir);
      const tls = scheme === 'https' ? { tls: await authority.issue('127.0.0.1') } : {};
      const server = stack.use(await HttpServer.start(whole, tls));
      const pools = new Pools({
        connectTimeout: 5 * SECOND,
        headerTimeout: 5 * SECOND,
        stallTimeout: 5 * SECOND,
        connections: { control: 4, blob: 4 },
        environment: {},
        trust: new TrustStore(readTrusted(undefined, [])),
      });
      stack.defer(() => pools.close());
      return { server, pools };
    });

    async function get(handler: Handler = whole, signal?: AbortSignal): Promise<Response> {
      const { server, pools } = lab();
      server.handler = handler;
      const pool = pools.get(server.url, PROFILE, 'blob', 'anywhere');
      return send(pool, { origin: server.url, method: 'GET', path: '/', headers: {}, signal });
    }

    it('are whole, however the taker pauses, four at a time over the same connections', async () => {
      for (let round = 0; round < 2; round++) {
        const bodies = await Promise.all(Array.from({ length: 4 }, () => get()));
        const taken = await Promise.all(bodies.map((body) => takeInPieces(body)));
        assert.deepEqual(taken, [DIGEST, DIGEST, DIGEST, DIGEST]);
      }
    });

    it('are whole for a reader that is slow, while others are read', async () => {
      const slow = await get();
      const hash = createHash('sha256');
      const others: Promise<string>[] = [];
      for await (const part of slow.chunks()) {
        if (others.length < 3) others.push(get().then((body) => takeInPieces(body)));
        await delay(1);
        hash.update(part);
      }
      assert.equal(hash.digest('hex'), DIGEST);
      assert.deepEqual(await Promise.all(others), [DIGEST, DIGEST, DIGEST]);
    });

    it('come in two buffers for each connection, if they are taken at once', async () => {
      const response = await get();
      const waiting = new Set<ArrayBufferLike>();
      const memory = new Set<ArrayBufferLike>();
      let reads = 0;
      await response.into((bytes) => {
        // What came before the taker was copied, and waits.
        (reads++ < (2 * MIB) / KIB / 16 ? waiting : memory).add(bytes.buffer);
        return bytes.length;
      });
      assert.ok(reads > 32, `${reads} reads`);
      assert.ok(memory.size <= 2, `${memory.size} buffers for ${reads} reads`);
    });

    it('give a part, and close the connection behind it', async () => {
      const response = await get();
      const hash = createHash('sha256');
      const part = { from: 0, to: BODY.length, start: 1234, end: 3 * MIB };
      await readPart(response, part, (bytes) => {
        hash.update(bytes);
        return bytes.length;
      });
      assert.equal(hash.digest('hex'), digest(BODY.subarray(part.start, part.end)));
    });

    it('end with the error of the taker, which closes the connection', async () => {
      let isClosed = false;
      const response = await get((request, answer) => {
        request.socket.once('close', () => (isClosed = true));
        return whole(request, answer);
      });
      const full = new Error('the disk is full');
      await assert.rejects(
        response.into(() => {
          throw full;
        }),
        full,
      );
      await eventually(() => assert.ok(isClosed));
    });

    it('end when the signal is aborted, also if all bytes have come and wait', async () => {
      for (const body of [BODY, BODY.subarray(0, 100 * KIB)]) {
        const stop = new AbortController();
        const response = await get((_, answer) => void answer.end(body), stop.signal);
        const taken = response.into(() => 0);
        await delay(50); // nothing tells when undici has seen the end of the body
        stop.abort(new WeirError('aborted', 'not wanted'));
        await assert.rejects(taken, (error) => isWeirError(error, 'aborted'));
      }
    });

    it('end when the signal is aborted, also after a registry cut them', async () => {
      const stop = new AbortController();
      const response = await get((request, answer) => {
        answer.writeHead(200, { 'content-length': BODY.length });
        answer.write(BODY.subarray(0, 100 * KIB), () => request.socket.destroySoon());
      }, stop.signal);
      const taken = response.into(() => 0);
      await delay(50); // nothing tells when undici has seen the cut
      stop.abort(new WeirError('aborted', 'not wanted'));
      await assert.rejects(taken, (error) => isWeirError(error, 'aborted'));
    });

    it('give what came before a registry cut them', async () => {
      const response = await get((request, answer) => {
        answer.writeHead(200, { 'content-length': BODY.length });
        answer.write(BODY.subarray(0, MIB), () => request.socket.destroySoon());
      });
      let length = 0;
      let isPaused = true;
      const taken = response.into((bytes) => {
        if (isPaused) return 0;
        length += bytes.length;
        return bytes.length;
      });
      await delay(50);
      isPaused = false;
      response.more();
      await assert.rejects(taken, (error) => isWeirError(error, 'upstream_cut'));
      assert.equal(length, MIB);
    });
  });
}

const whole: Handler = (_, response) => {
  response.writeHead(200, { 'content-length': BODY.length });
  response.end(BODY);
};

/** Takes random numbers of bytes, and pauses at random. @returns the digest */
async function takeInPieces(response: Response): Promise<string> {
  const hash = createHash('sha256');
  const take: BodyTaker = (bytes) => {
    if (bytes.length === 0 || randomInt(8) > 0) {
      hash.update(bytes);
      return bytes.length;
    }
    const taken = randomInt(bytes.length);
    hash.update(bytes.subarray(0, taken));
    setTimeout(() => response.more(), randomInt(3));
    return taken;
  };
  await response.into(take);
  return hash.digest('hex');
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
