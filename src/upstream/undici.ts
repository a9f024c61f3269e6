/**
 * undici's pools, with and without a proxy, by the paths of its files. Its index also loads fetch, WebSocket, caches and
 * mocks: 7 MiB of memory in each thread that imports it.
 */
import api from 'undici/lib/api/index.js';
import buildConnector from 'undici/lib/core/connect.js';
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
import EnvHttpProxyAgent from 'undici/lib/dispatcher/env-http-proxy-agent.js';
import Pool from 'undici/lib/dispatcher/pool.js';

Object.assign(Dispatcher.prototype, api); // as the index does: proxies are sent a CONNECT by it

export { buildConnector, EnvHttpProxyAgent, Pool };
