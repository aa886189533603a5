// Italian for the search: stems, words that say little, and words that readers use for others.
export { stemmer as stem } from './vendor/stemmer-it.js';

export const little = `a ad agli ai al all alla alle allo anche c che chi ci come con contro cosa cui
  d da dagli dai dal dall dalla dalle dallo degli dei del dell della delle dello di dopo dove e ed
  era essere fa fra gli ha hanno ho i il in io l la le lei li lo loro lui m ma mi mia mie mio n ne
  negli nei nel nell nella nelle nello nessun noi non o per perché più poi quale quando quanto
  quella quelle quelli quello questa queste questi questo qui s se senza si sia sono sse sta su
  sua sue sugli sui sul sull sulla sulle sullo suo t ti tra tu tutti tutto un una uno v vi voi`;

export const same = [
  ['evento', 'messaggio'],
  ['fermarsi', 'ferma', 'spegnimento', 'spegnere', 'spegne', 'arresto', 'sigterm', 'ctrl', 'terminare'],
  ['doppio', 'duplicato', 'ripetuto', 'due'],
  ['perso', 'perduto', 'perde', 'manca', 'mancante', 'sparisce', 'saltato'],
  ['tagliare', 'chiusa', 'interrotta', 'muore', 'cade', 'caduta'],
  ['disconnessione', 'uscire', 'esce', 'andato', 'uscita', 'sparito'],
  ['heartbeat', 'battito', 'keepalive', 'ping'],
  ['silenzio', 'silenzioso', 'inattivo', 'inattività'],
  ['accumulare', 'buffer', 'buffering', 'raffiche', 'trattenere'],
  ['crescere', 'piena', 'leak', 'aumenta'],
  ['folla', 'migliaia', 'massa', 'tempesta'],
  ['mezza', 'metà', 'troncata', 'incompleta', 'parziale'],
  ['appesa', 'bloccata', 'ferma', 'attesa'],
  ['incollate', 'attaccate', 'unite'],
  ['rotto', 'strano', 'sbagliato', 'illeggibile'],
  ['accento', 'emoji', 'utf'],
  ['lento', 'lentezza', 'ritardo'],
  ['deploy', 'riavvio', 'rilascio'],
  ['riconnettersi', 'riconnessione', 'tornare', 'torna'],
  ['autenticazione', 'autorizzazione', 'bearer', 'accesso'],
  ['conto', 'costo', 'pagare', 'prezzo'],
  ['crash', 'panic', 'eccezione'],
  ['telefono', 'cellulare', 'mobile', 'portatile', 'tablet'],
  ['standby', 'sospensione', 'risveglio'],
  ['minuto', '60'],
  ['continuazione', 'sempre', 'ripetutamente', 'infinito', 'continuo'],
  ['sei', '6'],
  ['sette', 'settima', '7'],
];
