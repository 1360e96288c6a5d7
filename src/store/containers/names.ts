/** Names for containers that were given none: an adjective and somebody who built something. */
import { randomInt } from 'node:crypto';

const FIRST = [
  ...['able', 'agile', 'amber', 'ample', 'bold', 'brave', 'brisk', 'calm', 'clear', 'clever'],
  ...['crisp', 'eager', 'early', 'fair', 'fleet', 'fresh', 'gentle', 'glad', 'grand', 'happy'],
  ...['keen', 'kind', 'light', 'lively', 'lucid', 'merry', 'mild', 'neat', 'noble', 'patient'],
  ...['plain', 'proud', 'quick', 'quiet', 'rapid', 'ready', 'sharp', 'sound', 'swift', 'witty'],
];
const SECOND = [
  ...['babbage', 'boole', 'brunel', 'curie', 'darby', 'davinci', 'dijkstra', 'edison', 'eiffel'],
  ...[
    'euler',
    'faraday',
    'gauss',
    'germain',
    'goddard',
    'hamilton',
    'harrison',
    'hopper',
    'hypatia',
  ],
  ...[
    'johnson',
    'kilby',
    'knuth',
    'lamarr',
    'lovelace',
    'maxwell',
    'meitner',
    'noether',
    'perlman',
  ],
  ...['ritchie', 'roebling', 'shannon', 'stephenson', 'telford', 'tesla', 'thompson', 'torvalds'],
  ...['turing', 'vaucanson', 'volta', 'watt', 'wirth', 'wozniak'],
];

/** Not one that `taken` has. */
export function randomName(taken: (name: string) => boolean): string {
  for (let tries = 0; ; tries++) {
    const name = `${FIRST[randomInt(FIRST.length)]}_${SECOND[randomInt(SECOND.length)]}`;
    const full = tries < 8 ? name : `${name}${randomInt(10 ** 6)}`;
    if (!taken(full)) return full;
  }
}
