/** The kubelet's side of CRI: pulls an image into containerd with a pod's credentials. */
import { fileURLToPath } from 'node:url';
import {
  credentials,
  loadPackageDefinition,
  status,
  type Client,
  type ClientUnaryCall,
  type GrpcObject,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { eventually } from './eventually.ts';
import { MINUTE } from '../../src/util/clock.ts';

export interface CriCredentials {
  readonly username: string;
  readonly password: string;
}

export interface CriImage {
  readonly id: string;
  readonly repo_digests: readonly string[];
}

export interface PullOutcome {
  /** Milliseconds. */
  readonly duration: number;
  /** undefined if the pull succeeded. */
  readonly error: string | undefined;
  /** Whether the caller ended it, by its deadline or its signal. */
  readonly timedOut: boolean;
}

type Callback = (error: ServiceError | null, response: unknown) => void;
type Method = (request: object, options: { readonly deadline: Date }, callback: Callback) => ClientUnaryCall;

const ENDED_BY_CALLER: ReadonlySet<number> = new Set([status.DEADLINE_EXCEEDED, status.CANCELLED]);

const DEFAULT_TIMEOUT = 2 * MINUTE;

export class Cri implements Disposable {
  readonly #client: Client;

  constructor(socket: string) {
    const file = fileURLToPath(new URL('cri.proto', import.meta.url));
    const root = loadPackageDefinition(loadSync(file, { keepCase: true, longs: String }));
    const api = (root['runtime'] as GrpcObject)['v1'] as GrpcObject;
    const ImageService = api['ImageService'] as ServiceClientConstructor;
    // containerd refuses the socket's path as the :authority that grpc-js would send.
    const options = { 'grpc.default_authority': 'localhost' };
    this.#client = new ImageService(`unix://${socket}`, credentials.createInsecure(), options);
  }

  /** Pulls, and tells how the pull ended: never rejects if the pull fails. */
  async pull(
    image: string,
    options: {
      readonly auth?: CriCredentials;
      readonly timeout?: number;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<PullOutcome> {
    const { auth, signal, timeout = DEFAULT_TIMEOUT } = options;
    const start = performance.now();
    const elapsed = (): number => performance.now() - start;
    try {
      await this.#call('PullImage', { image: { image }, ...(auth && { auth }) }, timeout, signal);
      return { duration: elapsed(), error: undefined, timedOut: false };
    } catch (error) {
      const { code, details } = error as ServiceError;
      return { duration: elapsed(), error: details, timedOut: ENDED_BY_CALLER.has(code) };
    }
  }

  /** Pulls an image that must arrive. */
  async pullOk(image: string, options: { readonly auth?: CriCredentials } = {}): Promise<void> {
    const { error } = await this.pull(image, options);
    if (error !== undefined) throw new Error(`CRI PullImage ${image}: ${error}`);
  }

  /** undefined if the runtime has no such image. */
  async imageStatus(image: string): Promise<CriImage | undefined> {
    const response = (await this.#call('ImageStatus', { image: { image } })) as { image?: CriImage | null };
    return response.image ?? undefined;
  }

  /** Resolves once it answers: after containerd has booted it may say for a while that it "is not initialized yet". */
  async ready(): Promise<void> {
    await eventually(() => this.imageStatus('none.test/none:none'));
  }

  async remove(image: string): Promise<void> {
    await this.#call('RemoveImage', { image: { image } });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  #call(
    name: string,
    request: object,
    timeout: number = DEFAULT_TIMEOUT,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const method = (this.#client as unknown as Record<string, Method>)[name];
    if (method === undefined) throw new Error(`cri.proto has no ${name}`);
    const options = { deadline: new Date(Date.now() + timeout) };
    const call = method.call(this.#client, request, options, (error, response) => {
      if (error) reject(error);
      else resolve(response);
    });
    signal?.addEventListener('abort', () => call.cancel(), { once: true });
    return promise;
  }
}
