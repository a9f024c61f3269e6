/** The registry's front, in the namespace of the registry: `front.ts ADDRESS:PORT UPSTREAM`. It takes rules by `PUT /_rules`. */
import { FaultProxy } from '../support/fault-proxy.ts';

const [listen = '', upstream = ''] = process.argv.slice(2);
const { hostname, port } = new URL(`http://${listen}`);
await FaultProxy.start(upstream, [], Number(port), hostname);
process.stdout.write('front is ready\n');
