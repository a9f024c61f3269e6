/** libp2p's logger, silent: its own makes and formats a scope for each stream even when nobody reads it. */
import type { ComponentLogger, Logger } from '@libp2p/interface';

const say = (): void => undefined;

const silent: Logger = Object.assign(say, { error: say, trace: say, enabled: false, newScope: () => silent });

/** Nothing, unless the environment asks libp2p to speak (`DEBUG=libp2p:*`). */
export function quietLogger(env: Readonly<Record<string, string | undefined>>): {
  readonly logger?: ComponentLogger;
} {
  return env['DEBUG'] === undefined ? { logger: { forComponent: () => silent } } : {};
}
