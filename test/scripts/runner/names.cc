// SPDX-License-Identifier: MIT
#include "scripts/runner/names.h"

#include <poll.h>

#include <cerrno>

namespace millrace::scripts {

namespace {

struct Name {
  int value;
  const char* name;
};

constexpr Name kErrors[] = {{EAGAIN, "EAGAIN"},
                            {EINPROGRESS, "EINPROGRESS"},
                            {EALREADY, "EALREADY"},
                            {EISCONN, "EISCONN"},
                            {ENOTCONN, "ENOTCONN"},
                            {ECONNREFUSED, "ECONNREFUSED"},
                            {ECONNRESET, "ECONNRESET"},
                            {ECONNABORTED, "ECONNABORTED"},
                            {ETIMEDOUT, "ETIMEDOUT"},
                            {EHOSTUNREACH, "EHOSTUNREACH"},
                            {ENETUNREACH, "ENETUNREACH"},
                            {ENOPROTOOPT, "ENOPROTOOPT"},
                            {EPROTO, "EPROTO"},
                            {EOPNOTSUPP, "EOPNOTSUPP"},
                            {EPIPE, "EPIPE"},
                            {EINVAL, "EINVAL"},
                            {EBADF, "EBADF"},
                            {EINTR, "EINTR"},
                            {EACCES, "EACCES"},
                            {EADDRINUSE, "EADDRINUSE"},
                            {EADDRNOTAVAIL, "EADDRNOTAVAIL"},
                            {EAFNOSUPPORT, "EAFNOSUPPORT"},
                            {EMSGSIZE, "EMSGSIZE"},
                            {EDESTADDRREQ, "EDESTADDRREQ"},
                            {EDEADLK, "EDEADLK"},
                            {ENOENT, "ENOENT"},
                            {ENOBUFS, "ENOBUFS"},
                            {EMFILE, "EMFILE"},
                            {EDOM, "EDOM"}};

constexpr const char* kStates[] = {"",           "ESTABLISHED", "SYN_SENT",  "SYN_RECV",
                                   "FIN_WAIT1",  "FIN_WAIT2",   "TIME_WAIT", "CLOSE",
                                   "CLOSE_WAIT", "LAST_ACK",    "LISTEN",    "CLOSING"};

}  // namespace

std::string errno_name(int code) {
  for (const Name& e : kErrors) {
    if (e.value == code) return e.name;
  }
  return "errno " + std::to_string(code);
}

bool is_errno_name(const std::string& name) {
  for (const Name& e : kErrors) {
    if (name == e.name) return true;
  }
  return false;
}

std::string poll_names(short events) {
  static constexpr Name kEvents[] = {{POLLIN, "in"},   {POLLOUT, "out"},     {POLLERR, "err"},
                                     {POLLHUP, "hup"}, {POLLRDHUP, "rdhup"}, {POLLNVAL, "nval"}};
  std::string text;
  for (const Name& e : kEvents) {
    if (events & e.value) text += (text.empty() ? "" : " ") + std::string(e.name);
  }
  return text.empty() ? "none" : text;
}

std::string state_name(int state) {
  return state >= 1 && state <= 11 ? kStates[state] : std::to_string(state);
}

}  // namespace millrace::scripts
