/** Shared by all measurements of a node: the registry with its content, and how a node is started. */
import type { Registry } from '../../test/support/registry.ts';
import { WeirNode, type NodeProgram } from '../../test/support/weir.ts';
import type { Scratch } from '../support/scratch.ts';
import type { Content } from './content.ts';

export interface Scene {
  /** Starts Weir, as it is installed. */
  readonly program: NodeProgram;
  readonly registry: Registry;
  readonly content: Content;
  readonly scratch: Scratch;
  /** How often each figure is measured. */
  readonly repeat: number;
  /** Tells how far the run is. */
  readonly say: (message: string) => void;
  readonly signal: AbortSignal;
}

/** A node with an empty data folder and the default settings. */
export async function startNode(
  program: NodeProgram,
  { host }: Pick<Registry, 'host'>,
  env: Readonly<Record<string, string>> = {},
): Promise<WeirNode> {
  return WeirNode.start({
    program,
    settings: { 'log.level': 'info' },
    registries: { [host]: { 'plain-http': true } },
    env,
  });
}
