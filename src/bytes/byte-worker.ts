/** One byte worker: hands messages of the main thread to its parts. Runs in a thread of its own (thread.ts). */
import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { MessagePort, Transferable } from 'node:worker_threads';
import { assertNever } from '../util/errors.ts';
import { ChunkPlaces } from './chunk-places.ts';
import { FilesPart } from './files-part.ts';
import { HttpPart } from './http-part.ts';
import type { Down, PartName, ToMain, ToWorker, Up } from './messages.ts';
import { PeersPart } from './peers-part.ts';
import { UpstreamPart } from './upstream-part.ts';

/** One part of a worker. */
export interface Part<Name extends PartName> extends AsyncDisposable {
  receive(message: ToWorker[Name]): void;
}

/** Tells the main thread something. */
export type Post<Name extends PartName> = (message: ToMain[Name], transfer?: readonly Transferable[]) => void;

export class ByteWorker {
  readonly #port: MessagePort;
  readonly #files: FilesPart;
  readonly #peers: PeersPart;
  readonly #http: HttpPart;
  readonly #upstream: UpstreamPart;

  constructor(port: MessagePort) {
    this.#port = port;
    const places = new ChunkPlaces();
    this.#files = new FilesPart(this.#postOf('files'), places);
    this.#peers = new PeersPart(this.#postOf('peers'), places);
    this.#http = new HttpPart(this.#postOf('http'), places);
    this.#upstream = new UpstreamPart(this.#postOf('upstream'), places);
    port.on('message', (down: Down) => this.#receive(down));
    this.#post({ part: 'started', tid: threadId() });
  }

  #postOf<Name extends PartName>(part: Name): Post<Name> {
    return (message, transfer = []) => this.#post({ part, message } as Up, transfer);
  }

  #post(up: Up, transfer: readonly Transferable[] = []): void {
    this.#port.postMessage(up, transfer as Transferable[]);
  }

  #receive(down: Down): void {
    switch (down.part) {
      case 'files':
        return this.#files.receive(down.message);
      case 'peers':
        return this.#peers.receive(down.message);
      case 'http':
        return this.#http.receive(down.message);
      case 'upstream':
        return this.#upstream.receive(down.message);
      case 'ping':
        return this.#post({ part: 'alive' });
      case 'stop':
        void this.#stop();
        return;
      default:
        assertNever(down);
    }
  }

  /** Never rejects. */
  async #stop(): Promise<void> {
    const parts = [this.#http, this.#peers, this.#upstream, this.#files];
    await Promise.allSettled(parts.map((part) => part[Symbol.asyncDispose]()));
    this.#port.close();
  }
}

/** The kernel's number of this thread; undefined without /proc. */
function threadId(): number | undefined {
  try {
    return Number(basename(readlinkSync('/proc/thread-self')));
  } catch {
    return undefined;
  }
}
