// SPDX-License-Identifier: MIT
#include "stack/answer_queues.h"

#include <algorithm>

namespace millrace {

namespace {
constexpr Duration kAskEvery = Duration::seconds(1);
}  // namespace

bool RssAnswerQueues::known(Instant now) {
  if (!asked_ || now - asked_at_ >= kAskEvery) {
    rss_ = af_xdp::query_rss(interface_.c_str());
    asked_at_ = now;
    asked_ = true;
  }
  return rss_.known();
}

bool RssAnswerQueues::is_ours(const wire::FlowKey& flow) const {
  return std::find(own_queues_.begin(), own_queues_.end(), rss_.queue_of(flow)) !=
         own_queues_.end();
}

}  // namespace millrace
