/**
 * A network in a process of its own, to be killed or frozen. It prints its peer ID and address, then waits for its
 * end.
 */
import { startNetwork } from '../../support/test-network.ts';

const { network, peer, address } = await startNetwork({ bootstrap: process.argv.slice(2) });
process.once('SIGTERM', () => void network.stop());
console.log(JSON.stringify({ peer, address }));
