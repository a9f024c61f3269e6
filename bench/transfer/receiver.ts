/** The receiving process: asks for chunks, some at a time, and forgets them. */
import { SECOND } from '../../src/util/clock.ts';
import type { Address } from '../../src/protocol/member.ts';
import { makeFetch } from './fetches.ts';
import type { Order, Reply, Setup } from './protocol.ts';
import { usage } from './usage.ts';

const setup = JSON.parse(process.argv[2] ?? '') as Setup;
let fetchChunk: Awaited<ReturnType<typeof makeFetch>> | undefined;

const reply = (message: Reply): void => void process.send?.(message);

async function fetchAll(from: Address, chunks: number): Promise<void> {
  fetchChunk ??= await makeFetch(setup, from);
  const began = performance.now();
  let next = 0;
  const lanes = Array.from({ length: setup.connections }, async () => {
    while (next < chunks) await fetchChunk?.(next++);
  });
  await Promise.all(lanes);
  reply({ kind: 'fetched', seconds: (performance.now() - began) / SECOND });
}

process.on('message', (order: Order) => {
  if (order.kind === 'usage') reply(usage());
  if (order.kind === 'fetch') void fetchAll(order.from, order.chunks);
});
