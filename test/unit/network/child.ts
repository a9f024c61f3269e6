/** A host in a process of its own, to be killed or frozen: prints its name and address, then waits for its end. */
import { startHost } from './fixture.ts';

const { host, peer, address } = await startHost({ bootstrap: process.argv.slice(2) });
process.once('SIGTERM', () => void host.stop());
console.log(JSON.stringify({ peer, address }));
