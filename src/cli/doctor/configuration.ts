/** The configuration itself. That it can be read is known before the checks run: see {@link brokenConfiguration}. */
import type { WeirError } from '../../util/errors.ts';
import { count, ok, warning, wrong, type Check, type Finding } from './check.ts';

export const CONFIGURATION = 'configuration';

export const configuration: Check = {
  name: CONFIGURATION,
  run: async ({ loaded }) => {
    const set = Object.values(loaded.origins).filter((origin) => origin !== 'default').length;
    const found = `${loaded.file ?? 'no file'}; ${count(set, 'setting')} set`;
    if (loaded.warnings.length === 0) return ok(found);
    return warning(loaded.warnings.join('; '), 'weir config shows each setting and where it comes from');
  },
};

/** The finding if it cannot be read: nothing else can be checked then. */
export function brokenConfiguration(error: WeirError): Finding {
  return wrong(error.message.replaceAll('\n', '; '), 'mend it, then: weir config --check');
}
