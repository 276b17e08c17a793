// SPDX-License-Identifier: MIT
// Where the time of a sender goes: how long it had something to send, and of that how long the
// peer's window or the user's send buffer were in its way (Linux's tcpi_busy_time and its like).
// Plain state, no clock.
#pragma once

#include "base/time.h"

namespace millrace::tcp {

class SendClock {
 public:
  // Each is a reason to be busy; a later one hides those before it.
  enum Reason : uint8_t { kIdle, kBusy, kReceiveWindow, kSendBuffer };

  void start(Instant now, Reason reason) {
    if (reason > reason_) change(now, reason);
  }
  // `empty`: there is nothing left to send or to be acknowledged.
  void stop(Instant now, Reason reason, bool empty) {
    if (empty) {
      change(now, kIdle);
    } else if (reason == reason_) {
      change(now, kBusy);
    }
  }
  Duration busy(Instant now) const {
    return spent(now, kBusy) + spent(now, kReceiveWindow) + spent(now, kSendBuffer);
  }
  // `reason`: not kIdle.
  Duration spent(Instant now, Reason reason) const {
    const Duration before = spent_[reason - 1];
    return reason == reason_ ? before + (now - since_) : before;
  }

 private:
  void change(Instant now, Reason reason) {
    if (reason == reason_) return;
    if (reason_ != kIdle) spent_[reason_ - 1] = spent_[reason_ - 1] + (now - since_);
    reason_ = reason;
    since_ = now;
  }

  Instant since_{};
  Reason reason_ = kIdle;
  Duration spent_[3] = {};  // by the reasons but kIdle
};

}  // namespace millrace::tcp
