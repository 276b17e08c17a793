// SPDX-License-Identifier: MIT
// The desk: questions and answers between this process and itself, another process's, and
// strangers'.
#include "control/desk.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <thread>

using millrace::Duration;
using millrace::Error;
using millrace::control::ask_desk;
using millrace::control::Desk;

namespace {

std::string name(int number) {
  return "millrace/flows/" + std::to_string(getpid()) + "/" + std::to_string(number);
}

// What an event loop would do with the desk for so long.
void serve(Desk& desk, const std::string& text, int milliseconds) {
  for (int i = 0; i < milliseconds; ++i) {
    desk.on_readable([&] { return text; });
    usleep(1000);
  }
}

void send_to_desk(const void* bytes, size_t count) {
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = name(1);
  std::memcpy(address.sun_path + 1, text.data(), text.size());
  REQUIRE(sendto(fd, bytes, count, 0, reinterpret_cast<sockaddr*>(&address),
                 socklen_t(offsetof(sockaddr_un, sun_path) + 1 + text.size())) >= 0);
  close(fd);
}

}  // namespace

TEST_CASE("desk: an answer of any length arrives whole") {
  Desk desk;
  REQUIRE(!desk.open());
  for (const size_t bytes : {size_t(0), size_t(5), size_t(3'000'000)}) {
    const std::string text(bytes, 'x');
    Error asked;
    std::string got = "before";
    std::thread asker([&] { asked = ask_desk(name(1), Duration::seconds(5), got); });
    for (bool answered = false; !answered;) {
      desk.on_readable([&] {
        answered = true;
        return text;
      });
      usleep(500);
    }
    asker.join();
    CHECK(!asked);
    CHECK(got == text);
  }
}

TEST_CASE("desk: nobody there, and one that is busy") {
  std::string got;
  CHECK(ask_desk(name(1), Duration::millis(50), got).code == ECONNREFUSED);
  Desk desk;
  REQUIRE(!desk.open());
  CHECK(ask_desk(name(1), Duration::millis(50), got).code == ETIMEDOUT);
  // Whoever asked has gone meanwhile.
  serve(desk, "late", 5);
  desk.close();
  CHECK(ask_desk(name(1), Duration::millis(50), got).code == ECONNREFUSED);
}

TEST_CASE("desk: each of one process has a number of its own") {
  Desk first, second;
  REQUIRE(!first.open());
  REQUIRE(!second.open());
  Error asked;
  std::string got;
  std::thread asker([&] { asked = ask_desk(name(2), Duration::seconds(5), got); });
  serve(second, "the second", 200);
  asker.join();
  CHECK(!asked);
  CHECK(got == "the second");
}

TEST_CASE("desk: what is no question has no answer, and the next one has") {
  Desk desk;
  REQUIRE(!desk.open());
  send_to_desk("nonsense", 8);
  send_to_desk("flows", 6);  // without a name to answer to
  send_to_desk(nullptr, 0);
  Error asked;
  std::string got;
  std::thread asker([&] { asked = ask_desk(name(1), Duration::seconds(5), got); });
  int answers = 0;
  for (int i = 0; i < 200; ++i) {
    desk.on_readable([&] {
      ++answers;
      return std::string("the answer");
    });
    usleep(1000);
  }
  asker.join();
  CHECK(!asked);
  CHECK(got == "the answer");
  CHECK(answers == 1);
}

TEST_CASE("desk: another user is not answered") {
  if (geteuid() != 0) return;  // it takes root to be somebody else
  Desk desk;
  REQUIRE(!desk.open());
  const std::string ours = name(1);
  const pid_t child = fork();
  if (child == 0) {
    std::string got;
    const bool changed = setuid(65534) == 0;
    const Error error = ask_desk(ours, Duration::millis(150), got);
    _exit(changed && error.code == ETIMEDOUT && got.empty() ? 0 : 1);
  }
  serve(desk, "for friends", 250);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("desk: an answer that another user gives in our name is not believed") {
  if (geteuid() != 0) return;
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    Desk desk;
    const bool opened = setuid(65534) == 0 && !desk.open();
    static_cast<void>(!write(ready[1], &opened, 1));
    serve(desk, "a stranger", 400);
    _exit(0);
  }
  bool opened = false;
  REQUIRE(read(ready[0], &opened, 1) == 1);
  CHECK(opened);
  const pid_t asker = fork();
  if (asker == 0) {
    std::string got;
    const bool changed = setuid(65533) == 0;
    // The desk does not answer us either: whatever comes, nothing is taken.
    const Error error =
        ask_desk("millrace/flows/" + std::to_string(child) + "/1", Duration::millis(200), got);
    _exit(changed && error && got.empty() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(asker, &status, 0) == asker);
  CHECK(WEXITSTATUS(status) == 0);
  REQUIRE(waitpid(child, &status, 0) == child);
  close(ready[0]);
  close(ready[1]);
}
