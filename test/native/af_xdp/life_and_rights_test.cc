// SPDX-License-Identifier: MIT
// What is left when the process dies, and what each missing capability is answered with. Both need
// a child.
#include <dirent.h>
#include <doctest/doctest.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fstream>
#include <functional>
#include <string>

#include "support/rig.h"

using namespace millrace;
using namespace millrace::test;

namespace {

// The numbers behind `key` ("prog_id:", "map_id:", "link_id:") in the descriptors of a process.
std::vector<std::string> bpf_ids(pid_t pid, const std::string& key) {
  std::vector<std::string> ids;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fdinfo";
  DIR* dir = opendir(folder.c_str());
  if (!dir) return ids;
  while (const dirent* entry = readdir(dir)) {
    std::ifstream in(folder + "/" + entry->d_name);
    std::string word;
    while (in >> word) {
      if (word == key && in >> word) ids.push_back(word);
    }
  }
  closedir(dir);
  return ids;
}

// BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID, BPF_LINK_GET_FD_BY_ID
enum Kind { kProgram = 13, kMap = 14, kLink = 30 };

bool exists(Kind kind, const std::string& id) {
  struct {
    uint32_t id, next, flags;
  } question{uint32_t(std::stoul(id)), 0, 0};
  const long fd = syscall(SYS_bpf, kind, &question, sizeof(question));
  if (fd < 0) return false;
  close(int(fd));
  return true;
}

// Runs `work` in a child and gives back what it returns.
std::string in_child(const std::function<std::string()>& work) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    const std::string text = work();
    const ssize_t n = write(ends[1], text.data(), text.size());
    _exit(n == ssize_t(text.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string out;
  char buffer[512];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) out.append(buffer, size_t(n));
  close(ends[0]);
  int status;
  waitpid(pid, &status, 0);
  CHECK(status == 0);
  return out;
}

void keep_only(std::initializer_list<int> capabilities) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int c : capabilities) {
    data[c / 32].effective |= 1u << (c % 32);
    data[c / 32].permitted |= 1u << (c % 32);
  }
  syscall(SYS_capset, &header, data);
}

// What opening steering and port gives with only these capabilities: "ok" or the error.
std::string open_with(VethPair& veth, std::initializer_list<int> capabilities,
                      bool steering_too = true) {
  return in_child([&]() -> std::string {
    setns(veth.here.fd(), CLONE_NEWNET);
    keep_only(capabilities);
    SetupError error;
    std::unique_ptr<steer::XdpSteering> steering;
    if (steering_too) {
      steering = steer::XdpSteering::open("mrh", {}, error);
      if (!steering) return std::to_string(error.code) + " " + error.text;
    }
    FramePool pool(8192, 2048);
    auto port = AfXdpPort::open("mrh", pool, {}, error);
    if (!port) return std::to_string(error.code) + " " + error.text;
    return "ok";
  });
}

}  // namespace

TEST_CASE(
    "af_xdp: after kill -9 neither program, map nor link is left, and the next one starts at "
    "once" *
    needs_root()) {
  VethPair veth;
  REQUIRE(veth.ok);
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    setns(veth.here.fd(), CLONE_NEWNET);
    SetupError error;
    FramePool pool(1024, 2048);
    auto steering = steer::XdpSteering::open("mrh", {}, error);
    auto port =
        steering ? AfXdpPort::open("mrh", pool, {.native = steering->native()}, error) : nullptr;
    bool wired = port && !steering->set_queue(0, port->socket_fd(0)) &&
                 !steering->add_address(ip("10.77.0.1")) &&
                 !steering->add_local(steer::Protocol::kTcp, at("0.0.0.0", 80));
    if (write(ready[1], wired ? "y" : "n", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  const auto programs = bpf_ids(pid, "prog_id:"), maps = bpf_ids(pid, "map_id:"),
             links = bpf_ids(pid, "link_id:");
  CHECK(programs.size() >= 1);  // the link's descriptor names it as well
  CHECK(maps.size() == 7);
  REQUIRE(links.size() == 1);
  for (const auto& id : programs) CHECK(exists(kProgram, id));
  for (const auto& id : maps) CHECK(exists(kMap, id));

  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  const auto any_left = [&] {
    bool left = exists(kLink, links[0]);
    for (const auto& id : programs) left = left || exists(kProgram, id);
    for (const auto& id : maps) left = left || exists(kMap, id);
    return left;
  };
  const Instant end = clock_now() + Duration::seconds(3);
  while (any_left() && clock_now() < end) usleep(10000);
  CHECK(!any_left());

  Inside here(veth.here);
  CHECK(!run({"sh", "-c", "ip link show dev mrh | grep -q xdp"}));
  SetupError error;
  FramePool pool(1024, 2048);
  auto steering = steer::XdpSteering::open("mrh", {}, error);
  REQUIRE_MESSAGE(steering, error.text);
  auto port = AfXdpPort::open("mrh", pool, {.native = steering->native()}, error);
  CHECK_MESSAGE(port, error.text);
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("af_xdp: five capabilities are enough, and each that is missing is named" *
          needs_root()) {
  VethPair veth;
  REQUIRE(veth.ok);
  // 38: CAP_PERFMON, 39: CAP_BPF. No CAP_SYS_ADMIN.
  CHECK(open_with(veth, {CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, 38, 39}) == "ok");
  {
    // To join others no more is needed.
    VethPair two(2);
    Inside here(two.here);
    SetupError error;
    FramePool pool(1024, 2048);
    auto steering = steer::XdpSteering::open("mrh", {}, error);
    REQUIRE_MESSAGE(steering, error.text);
    auto port = AfXdpPort::open("mrh", pool, {.queues_wanted = 1}, error);
    REQUIRE_MESSAGE(port, error.text);
    CHECK(open_with(two, {CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, 38, 39}) == "ok");
  }

  const auto names = [](const std::string& text, const char* capability) {
    MESSAGE(text);
    const bool refused = text.substr(0, 2) == "1 " || text.substr(0, 3) == "13 ";
    return refused && text.find(std::string("missing ") + capability) != std::string::npos;
  };
  CHECK(names(open_with(veth, {CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, 38}), "CAP_BPF"));
  CHECK(names(open_with(veth, {CAP_NET_RAW, CAP_IPC_LOCK, 38, 39}), "CAP_NET_ADMIN"));
  CHECK(names(open_with(veth, {CAP_NET_ADMIN, CAP_IPC_LOCK, 38, 39}), "CAP_NET_RAW"));
  CHECK(names(open_with(veth, {CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, 39}), "CAP_PERFMON"));
}

TEST_CASE("af_xdp: the limit on locked memory is named" * needs_root()) {
  VethPair veth;
  REQUIRE(veth.ok);
  const std::string text = in_child([&]() -> std::string {
    setns(veth.here.fd(), CLONE_NEWNET);
    const rlimit small{1 << 20, 1 << 20};
    setrlimit(RLIMIT_MEMLOCK, &small);
    keep_only({CAP_NET_ADMIN, CAP_NET_RAW, 38, 39});
    SetupError error;
    FramePool pool(8192, 2048);
    auto port = AfXdpPort::open("mrh", pool, {}, error);
    return std::to_string(error.code) + " " + error.text;
  });
  MESSAGE(text);
  CHECK(text.find("RLIMIT_MEMLOCK is 1024 KiB") != std::string::npos);
  CHECK(text.find("CAP_IPC_LOCK") != std::string::npos);
}
