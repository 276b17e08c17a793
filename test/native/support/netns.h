// SPDX-License-Identifier: MIT
// Two network namespaces joined by a veth pair, for tests with real packets. Both are anonymous:
// they end with the process, however it ends, and nothing outside of them is touched. The thread
// works inside "here" and visits "there" by a scope object.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern char** environ;

namespace millrace::test {

// Runs a program quietly; true when it exits with 0.
inline bool run(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  if (!getenv("MILLRACE_TEST_VERBOSE"))
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = -1;
  if (failed || waitpid(pid, &status, 0) != pid) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class Namespace {
 public:
  // Makes a new network namespace; the thread stays where it was.
  Namespace() {
    const int old = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNET) == 0) {
      fd_ = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
      run({"ip", "link", "set", "lo", "up"});
      setns(old, CLONE_NEWNET);
    }
    close(old);
  }
  ~Namespace() {
    if (fd_ >= 0) close(fd_);
  }
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;
  int fd() const { return fd_; }
  std::string path() const {
    return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_);
  }

 private:
  int fd_ = -1;
};

// The thread is in another namespace for the life of this object.
class Inside {
 public:
  explicit Inside(const Namespace& ns) : old_(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) {
    setns(ns.fd(), CLONE_NEWNET);
  }
  ~Inside() {
    setns(old_, CLONE_NEWNET);
    close(old_);
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  int old_;
};

// here: "mrh" 10.77.0.1/24, fd77::1/64      there: "mrt" 10.77.0.2/24, fd77::2/64
class VethPair {
 public:
  static constexpr const char* kHere = "mrh";
  static constexpr const char* kThere = "mrt";

  explicit VethPair(unsigned queues = 1) {
    const std::string n = std::to_string(queues);
    Inside inside(here);
    ok = run({"ip", "link", "add", kHere, "numrxqueues", n, "numtxqueues", n, "type", "veth",
              "peer", "name", kThere, "numrxqueues", n, "numtxqueues", n}) &&
         run({"ip", "link", "set", kThere, "netns", there.path()}) &&
         configure(kHere, "10.77.0.1/24", "fd77::1/64");
    if (!ok) return;
    Inside other(there);
    ok = configure(kThere, "10.77.0.2/24", "fd77::2/64") && runs(kThere);
    Inside back(here);
    ok = ok && runs(kHere);
  }

  Namespace here, there;
  bool ok = false;

 private:
  static bool configure(const char* name, const char* v4, const char* v6) {
    return run({"ip", "addr", "add", v4, "dev", name}) &&
           run({"ip", "addr", "add", v6, "dev", name, "nodad"}) &&
           run({"ip", "link", "set", name, "up"});
  }
  // The kernel tells of the carrier up to a second after it came, later when many links come and
  // go; until then it drops what is sent, and solicitations of neighbours with it.
  static bool runs(const char* name) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    bool running = false;
    for (int tries = 0; tries < 1000 && !running; ++tries) {
      if (tries > 0) usleep(10'000);
      running = ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_RUNNING);
    }
    close(fd);
    return running;
  }
};

// For tests that need privileges: TEST_CASE("..." * needs_root()). Without them the case counts as
// skipped, and the reason is printed once.
inline doctest::skip needs_root() {
  static const bool can = [] {
    const bool works = geteuid() == 0 && Namespace().fd() >= 0;
    if (!works) std::fprintf(stderr, "skipped: needs root and network namespaces of its own\n");
    return works;
  }();
  return doctest::skip(!can);
}

}  // namespace millrace::test
