/**
 * Profiles a part of the life of a running Node.js through its inspector (Chrome DevTools Protocol, Profiler).
 * `--cpu-prof` covers a process from its start to its end, so the measured part would drown in its preparation: filling
 * the store takes longer than reading from it.
 */
import { once } from 'node:events';
import type { CpuProfile } from './cpu-profile.ts';

/** For NODE_OPTIONS of the process that is to be profiled; it logs where its inspector listens. */
export const INSPECT = '--inspect=127.0.0.1:0';

const LISTENING = /Debugger listening on (ws:\S+)/g;

/** Microseconds between two samples. */
const INTERVAL = 500;

export class Profiler implements Disposable {
  readonly #socket: WebSocket;
  #id = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** @param log the output of the process */
  static async connect(log: string): Promise<Profiler> {
    const url = [...log.matchAll(LISTENING)].at(-1)?.[1];
    if (url === undefined) throw new Error('the process did not say where its inspector listens');
    const profiler = new Profiler(new WebSocket(url));
    await once(profiler.#socket, 'open');
    await profiler.#call('Profiler.enable');
    await profiler.#call('Profiler.setSamplingInterval', { interval: INTERVAL });
    return profiler;
  }

  /** The profile of the process until `work` is done. */
  async during(work: () => Promise<void>): Promise<CpuProfile> {
    await this.#call('Profiler.start');
    await work();
    const { profile } = (await this.#call('Profiler.stop')) as { profile: CpuProfile };
    return profile;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  async #call(method: string, params: object = {}): Promise<unknown> {
    this.#id += 1;
    const id = this.#id;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const onMessage = ({ data }: MessageEvent): void => {
      const answer = JSON.parse(String(data)) as {
        id?: number;
        result?: unknown;
        error?: { message: string };
      };
      if (answer.id !== id) return;
      if (answer.error === undefined) resolve(answer.result);
      else reject(new Error(`${method}: ${answer.error.message}`));
    };
    const onClose = (): void => reject(new Error(`${method}: the process has ended`));
    this.#socket.addEventListener('message', onMessage);
    this.#socket.addEventListener('close', onClose);
    this.#socket.send(JSON.stringify({ id, method, params }));
    try {
      return await promise;
    } finally {
      this.#socket.removeEventListener('message', onMessage);
      this.#socket.removeEventListener('close', onClose);
    }
  }
}
