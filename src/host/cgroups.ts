/** The cgroups that the launcher made for hosts (native/launcher_self.cc). */
import { existsSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';

const CGROUPS = '/sys/fs/cgroup';
const OWN = '/stratafs';

/**
 * Leaves them and removes those that no other host is in. Never throws: what cannot be removed serves
 * the next host.
 */
export function removeCgroups(): void {
  for (const line of readFileSync('/proc/self/cgroup', 'latin1').split('\n')) {
    const [, controllers = '', path = ''] = line.split(':');
    if (path !== OWN) continue;
    const unified = existsSync(`${CGROUPS}/unified/cgroup.procs`) ? '/unified' : '';
    const root =
      controllers === '' ? CGROUPS + unified : `${CGROUPS}/${controllers.replace(/^name=/, '')}`;
    try {
      writeFileSync(`${root}/cgroup.procs`, '0');
      rmdirSync(root + OWN);
    } catch {
      // EBUSY: another host is in it.
    }
  }
}
