// Where the stack and Linux answer the same segment differently, and why. `exchanges` are names of the table of
// test/differential/exchanges.cc; one that no longer differs fails the comparison as much as one that is missing here.

/** @type {ReadonlyArray<{exchanges: string[], why: string}>} */
export const DIFFERENCES = [
  {
    exchanges: [
      'SYN-RECEIVED: SYN',
      'SYN-RECEIVED: SYN in the window',
      'SYN-RECEIVED: SYN ACK',
      'SYN-RECEIVED: SYN FIN',
      'SYN-RECEIVED: ts: SYN',
    ],
    why: 'RFC 5961 4.2: a SYN in a synchronized state gets a challenge ACK; Linux ends a half-open handshake by it, as a blind attacker could',
  },
  {
    exchanges: ['SYN-RECEIVED: ts: data again'],
    why: 'the same ACK; as the connection exists by then, it reports the duplicate (RFC 2883), as both do in ESTABLISHED',
  },
  {
    exchanges: ['SYN-SENT: SYN', 'SYN-SENT: SYN in the window', 'SYN-SENT: SYN past the window'],
    why: 'RFC 7323 1.3 and 2.2, RFC 2018 2: the SYN-ACK of a simultaneous opening agrees only to what the SYN offered; Linux repeats its whole offer',
  },
  {
    exchanges: ['SYN-SENT: SYN FIN'],
    why: 'SYN with FIN is nobody honest and is dropped in every state; Linux takes the SYN',
  },
  {
    exchanges: ['CLOSING: data half old', 'CLOSE-WAIT: data half old', 'LAST-ACK: data half old'],
    why: 'RFC 9293 3.10.7.4, seventh: data behind the FIN is to be ignored; Linux resets the connection',
  },
  {
    exchanges: ['TIME-WAIT: SYN in the window', 'TIME-WAIT: SYN past the window', 'TIME-WAIT: ts: SYN'],
    why: 'RFC 6191: the new initial number is above the old one, here the one of RFC 6528 where that is so; Linux adds 65,537',
  },
];
