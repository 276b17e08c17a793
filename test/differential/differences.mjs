// Where the stack and Linux answer the same packet differently, and why. `exchanges` are names of test/differential,
// "PLACE: PACKET" for both families or "v6 PLACE: PACKET" for one; one that no longer differs fails the comparison as
// much as one that is missing here.

const READERS = ['ESTABLISHED', 'DATA-SENT', 'UNREAD', 'FIN-WAIT-1', 'FIN-WAIT-2', 'SYN-RECEIVED'];

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
  {
    exchanges: READERS.map((place) => `${place}: urgent data`),
    why: 'urgent data stays in the stream (RFC 6093 2: there is nothing out of band); Linux takes a byte out and ends a read before it',
  },
  {
    exchanges: ['UDP-BOUND: datagram, bad checksum', 'UDP-CONNECTED: datagram, bad checksum'],
    why: 'dropped when it comes; Linux looks at the checksum when the datagram is read, and until then poll() says that there is one',
  },
  {
    exchanges: ['v6 UDP-CONNECTED: ICMP too big, 600'],
    why: 'RFC 8201 4: there is no link of less than 1,280 bytes, what says so is discarded; Linux tells the user that his datagram was too long',
  },
];
