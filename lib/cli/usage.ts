/** What the command line can do, in words, and the error for using it wrongly. */

/** A command line that cannot be understood: the tool ends with 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const USAGE = `millrace: a fast path of its own for the network of an unmodified Node.js program

  millrace run [--port loopback|af_xdp|dpdk] [--interface NAME] [--OPTION VALUE ...] [--] COMMAND [ARGUMENT ...]
      checks this machine, then runs the command with the preload, for example
      millrace run --interface eth1 node server.js
  millrace doctor [--json] [--port PORT] [--interface NAME]
      what this machine and user can do, and the command that mends each gap
  millrace flows [--json] [PID ...]
      the steering rules of running programs, in words, with what they have counted and which were refused
  millrace options [--json | --markdown]
      every option with its variable, flag, type, default and meaning
  millrace --version
  millrace help

Exit codes: run ends as the command does; 1 when MILLRACE_REQUIRE=1 and nothing can be accelerated, or for doctor
when the port that was asked for is not usable, for flows when a program does not answer; 2 for a wrong option or command line.
`;
