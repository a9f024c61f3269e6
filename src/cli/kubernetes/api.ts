/**
 * A client of the API server in a pod. Its address is in the environment; the token and the certificate authority are in
 * a projected volume. Two requests of the chart need no larger library (docs/adr/0016).
 */
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { SECOND } from '../../util/clock.ts';
import { errorMessage } from '../../util/errors.ts';

/** The folder in which Kubernetes mounts the token of a pod's service account. */
export const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Milliseconds for one answer. */
const TIMEOUT = 10 * SECOND;

/** Characters of an answer that an error shows. */
const MAX_SHOWN = 200;

export interface KubernetesApiOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Folder with `token` and `ca.crt`; default {@link SERVICE_ACCOUNT}. */
  readonly folder?: string | undefined;
}

export class KubernetesApi implements AsyncDisposable {
  readonly #base: string;
  readonly #folder: string;
  readonly #agent: Agent;

  private constructor(base: string, folder: string, agent: Agent) {
    this.#base = base;
    this.#folder = folder;
    this.#agent = agent;
  }

  /** @throws Error outside of a pod, or in a pod without a token */
  static async open({ env, folder = SERVICE_ACCOUNT }: KubernetesApiOptions): Promise<KubernetesApi> {
    const [host, port] = [env['KUBERNETES_SERVICE_HOST'] ?? '', env['KUBERNETES_SERVICE_PORT'] ?? '443'];
    if (host === '') throw new Error('KUBERNETES_SERVICE_HOST is not set: run this in a pod');
    const ca = await readFile(join(folder, 'ca.crt'), 'utf8');
    const agent = new Agent({ connect: { ca, timeout: TIMEOUT } });
    return new KubernetesApi(`https://${isIPv6(host) ? `[${host}]` : host}:${port}`, folder, agent);
  }

  /** @throws Error with the path and the answer */
  async get(path: string, signal?: AbortSignal): Promise<unknown> {
    const deadline = AbortSignal.timeout(TIMEOUT);
    // Read each time, as tokens are replaced while the pod runs.
    const token = (await readFile(join(this.#folder, 'token'), 'utf8')).trim();
    try {
      const answer = await request(this.#base + path, {
        dispatcher: this.#agent,
        headers: { authorization: `Bearer ${token}`, accept: 'application/json' },
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      });
      const text = await answer.body.text();
      if (answer.statusCode !== 200) throw new Error(`${answer.statusCode}: ${text.slice(0, MAX_SHOWN)}`);
      return JSON.parse(text);
    } catch (cause) {
      throw new Error(`cannot read ${path} from the API server: ${errorMessage(cause)}`, { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}
