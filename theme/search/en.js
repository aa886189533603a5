// English for the search: stems, words that say little, and words that readers use for others.
export { stemmer as stem } from './vendor/stemmer-en.js';

export const little = `a about above again after all am an and any are as at be because been
  before being below between both but by can cannot could did do does doing don down during each
  few for from further get gets got had has have having he her here hers him his how i if in into
  is isn it its just me more most my no nor not of off on only or other our out over own per same she
  should so some sse such t s than that the their them then there these they this those through to
  too under until up very was we were what when where which while who whom why will with would
  you your`;

export const same = [
  ['event', 'message'],
  ['stop', 'shutdown', 'sigterm', 'ctrl', 'quit', 'exit', 'end'],
  ['twice', 'duplicate', 'double', 'repeated'],
  ['lost', 'missing', 'missed', 'gap', 'dropped', 'skipped'],
  ['dies', 'cut', 'closes', 'closed', 'aborted', 'drops', 'interrupted'],
  ['minute', '60'],
  ['ever', 'forever', 'endless', 'repeatedly', 'continuously', 'keeps', 'again'],
  ['disconnect', 'leave', 'left', 'vanished', 'offline'],
  ['detect', 'detection', 'notice'],
  ['heartbeat', 'keepalive', 'ping'],
  ['quiet', 'idle', 'silent', 'silence', 'inactive'],
  ['buffering', 'bursts', 'batch', 'collect'],
  ['grows', 'leak', 'oom'],
  ['crowd', 'herd', 'thousands', 'stampede', 'storm'],
  ['half', 'truncated', 'incomplete', 'unfinished', 'partial'],
  ['hang', 'stuck', 'freeze', 'pending', 'blocked', 'waits'],
  ['broken', 'garbled', 'mojibake', 'corrupt', 'wrong'],
  ['slow', 'lag', 'lagged', 'lagging'],
  ['deploy', 'restart', 'rollout', 'release'],
  ['auth', 'authorization', 'authentication', 'bearer', 'login'],
  ['bill', 'cost', 'pay', 'price'],
  ['crash', 'panic', 'exception'],
  ['phone', 'mobile', 'laptop', 'tablet'],
  ['slept', 'sleep', 'standby', 'suspend', 'wakes'],
  ['six', '6'],
  ['seven', 'seventh', '7'],
];
