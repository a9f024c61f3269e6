/** The limits on rates of the configuration. */
import type { PeerRates } from '../bytes/peer-limits.ts';
import type { Config } from '../config/settings.ts';

export function peerRates(config: Config): PeerRates {
  return {
    maxDownload: rate(config['transfer.max-download']),
    maxUpload: rate(config['transfer.max-upload']),
  };
}

function rate(setting: number | 'none'): number | undefined {
  return setting === 'none' ? undefined : setting;
}
