/** The sending process: a data server with its bytes in the page cache, so no disk is measured. */
import { ByteWorkers } from '../../src/bytes/byte-workers.ts';
import { Http } from '../../src/bytes/http.ts';
import { systemClock } from '../../src/util/clock.ts';
import { Identity } from '../../src/protocol/identity.ts';
import { attest } from '../../src/protocol/attestation.ts';
import type { ChunkFetch, ServedChunk } from '../../src/transfer/chunk-exchange.ts';
import { DataServer } from '../../src/transfer/https-server.ts';
import { fileOf } from '../../test/support/file-content.ts';
import { memberOf, CHUNKS, requestFor } from './members.ts';
import type { Order, Reply, Setup } from './protocol.ts';
import { usage } from './usage.ts';

const setup = JSON.parse(process.argv[2] ?? '') as Setup;
const { secure, piece: chunk, sender, asker } = setup;
const bytes = Buffer.alloc(CHUNKS * chunk, 'weir');
const body = fileOf(bytes);
const { swarm } = requestFor(0, chunk);
const attestation = attest(Identity.generate(), swarm, bytes.length, {
  index: 0,
  hash: new Uint8Array(32),
  verified: true,
});
const member = memberOf(asker, secure, [{ host: '127.0.0.1', port: 1 }]);

const reply = (message: Reply): void => void process.send?.(message);

async function serve(_from: string, { range }: ChunkFetch): Promise<ServedChunk> {
  const { start, end } = range ?? { start: 0, end: 0 };
  return {
    kind: 'chunk',
    size: bytes.length,
    start,
    end,
    attestation,
    body,
    close: () => {},
  };
}

const server = await DataServer.start({
  http: new Http(new ByteWorkers({ count: 1 })),
  listen: [{ host: '127.0.0.1', port: 0 }],
  tls: secure ? sender : undefined,
  membership: {
    get: (peer) => (peer === member.peer ? member : undefined),
    isBanned: () => false,
    names: () => true,
    onChange: () => () => {},
  },
  server: { serve },
  maxUpload: undefined,
  clock: systemClock,
  observer: { refused: (reason) => console.error(`bench: refused: ${reason}`), served: () => {} },
});

process.on('message', ({ kind }: Order) => {
  if (kind === 'usage') reply(usage());
  const [address] = server.addresses;
  if (kind === 'listen' && address !== undefined) reply({ kind: 'listening', address });
});
