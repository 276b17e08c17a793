// SPDX-License-Identifier: MIT
// Answers who asks what a running stack does (`npx millrace flows`): a datagram socket with a name
// of the abstract Unix namespace, "@millrace/flows/<process>/<number>", which is the network
// namespace's own and gone with the process. The question is a datagram, the answer another one
// with the descriptor of a file in memory, so that neither side ever waits for the other, however
// long the text. Only processes of the same user, and root's, are answered.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace millrace::control {

class Desk {
 public:
  Desk() = default;
  ~Desk() { close(); }
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  // EADDRINUSE: this process has as many desks as it may.
  Error open();
  // Readable when somebody asks; -1: not open.
  int poll_fd() const { return fd_; }
  // Answers one question at most; what nobody trusted sent is thrown away.
  void on_readable(const std::function<std::string()>& text);
  void close();

 private:
  int fd_ = -1;
};

// Asks the desk of that name (without the '@') and waits for the answer. ECONNREFUSED: there is
// none; ETIMEDOUT: it is busy; EACCES: the answer is another user's.
Error ask_desk(const std::string& name, Duration patience, std::string& out);

}  // namespace millrace::control
