/** The sending process: it has its bytes in the page cache, so no disk is measured. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTls } from 'node:https';
import type { AddressInfo } from 'node:net';
import { ByteWorkers } from '../../src/bytes/byte-workers.ts';
import type { Address } from '../../src/protocol/member.ts';
import { Identity } from '../../src/protocol/identity.ts';
import { attest } from '../../src/protocol/attestation.ts';
import type { ChunkFetch, ServedChunk } from '../../src/transfer/chunk-exchange.ts';
import { fileOf } from '../../test/support/file-content.ts';
import { openWire } from '../support/member-wire.ts';
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

/** As a node does, or as a plain HTTP server for the HTTP clients. */
async function listen(): Promise<Address> {
  if (setup.receiverKind === 'weir') {
    const wire = await openWire({
      workers: new ByteWorkers({ count: 1 }),
      self: memberOf(sender, secure, []),
      tls: secure ? sender : undefined,
      others: [memberOf(asker, secure, [{ host: '127.0.0.1', port: 1 }])],
      source: { serve },
    });
    const [address] = wire.addresses;
    if (address === undefined) throw new Error('it does not listen');
    return address;
  }
  const answer = (_request: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(200, { 'content-length': chunk });
    response.end(bytes.subarray(0, chunk));
  };
  const { cert, key } = sender;
  const server = secure ? createTls({ cert, key, minVersion: 'TLSv1.3' }, answer) : createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

const address = await listen();

process.on('message', ({ kind }: Order) => {
  if (kind === 'usage') reply(usage());
  if (kind === 'listen') reply({ kind: 'listening', address });
});
