/** Manifests and lists that a client is slow to take, or that a registry makes large. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { KIB, MIB, SECOND } from '../../../src/util/clock.ts';
import { Http } from '../../../src/bytes/http.ts';
import { DocumentRoom } from '../../../src/upstream/document-room.ts';
import { workersInside } from '../../support/byte-workers.ts';
import { MirrorFixture } from '../../support/mirror-fixture.ts';

const LARGE = 3 * MIB;

describe('Mirror: manifests and lists held in memory', () => {
  it('are dropped with a client that takes no byte', async () => {
    const outcome = Promise.withResolvers<void>();
    await using workers = workersInside();
    const limits = { maxHeaderSize: KIB, requestTimeout: SECOND, timeoutCheck: SECOND, keepAlive: SECOND };
    await using listener = await new Http(workers).listen(
      { host: '127.0.0.1', port: 0 },
      {
        limits: { ...limits, maxConnections: 1, clientTimeout: 300 },
        // More bytes than the kernel buffers for a connection without a reader.
        onExchange: ({ response }) =>
          void response.write(Buffer.alloc(64 * MIB)).then(outcome.resolve, outcome.reject),
        onWarning: () => undefined,
      },
    );
    const socket = connect(listener.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await assert.rejects(outcome.promise, { code: 'aborted', message: 'the client took no byte for 0.3 s' });
    socket.destroy();
  });

  it('are refused without room, unless they are small', async () => {
    const documents = new DocumentRoom(LARGE);
    await using fixture = await MirrorFixture.start({ mirror: { documents } });
    const large = JSON.stringify({ tags: ['x'.repeat(LARGE)] });
    fixture.registry.addImage('small/app', 'v1', Buffer.from('layer'));
    fixture.registry.intercept = (request, response) => {
      if (request.url?.includes('/tags/list') !== true) return false;
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': large.length });
      response.end(large);
      return true;
    };
    {
      using others = documents.hold();
      others.grow(MIB);
      const refused = await fixture.get('x/app/tags/list');
      assert.equal(refused.status, 503);
      assert.match(await refused.text(), /too_many_requests/);
      assert.equal((await fixture.get('small/app/manifests/v1')).status, 200);
    }
    const list = await fixture.get('x/app/tags/list');
    assert.equal((await list.text()).length, large.length);
    while (fixture.reports.length < 3) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(documents.used, 0);
  });

  it('take room if they are large, and give it back', () => {
    const room = new DocumentRoom(MIB);
    using small = room.hold();
    small.grow(64 * KIB);
    assert.equal(room.used, 0);
    {
      using large = room.hold();
      large.grow(MIB);
      assert.equal(room.used, MIB - 64 * KIB);
      using another = room.hold();
      assert.throws(() => another.grow(MIB), { code: 'too_many_requests' });
    }
    assert.equal(room.used, 0);
  });
});
