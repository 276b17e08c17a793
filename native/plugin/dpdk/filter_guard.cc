// SPDX-License-Identifier: MIT
#include "plugin/dpdk/filter_guard.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <cstdio>

extern char** environ;

namespace millrace::dpdk {

void guard_filters(const char* interface) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  // It reads to the end of the pipe, whose other end only this process has, as long as it lives.
  // (Closed on exec: no child of the program's keeps it open.)
  char shell[] = "/bin/sh";
  char flag[] = "-c";
  char script[] =
      "trap '' INT TERM HUP; cat >/dev/null; "
      "PATH=$PATH:/usr/sbin:/sbin tc qdisc del dev \"$1\" ingress 2>/dev/null";
  char name[] = "millrace-guard";
  char device[32];
  snprintf(device, sizeof(device), "%s", interface);
  char* arguments[] = {shell, flag, script, name, device, nullptr};
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ends[0], 0);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_init(&attributes);
  // A session of its own: what ends the program from a terminal does not end its guard first.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  pid_t child = 0;
  const int result = posix_spawn(&child, shell, &files, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  close(ends[0]);
  if (result != 0) close(ends[1]);
}

}  // namespace millrace::dpdk
