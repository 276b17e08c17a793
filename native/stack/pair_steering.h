// SPDX-License-Identifier: MIT
// Rules in a device and the same rules in software behind it: the device brings what is ours and,
// where it cannot say a rule exactly, a little more; the software sorts that out.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "steer/soft/soft_steering.h"
#include "steer/steering.h"

namespace millrace {

class PairSteering final : public steer::Steering {
 public:
  // `device` may be null: everything comes. `soft` is shared with who asks it to judge.
  PairSteering(std::unique_ptr<steer::Steering> device, std::shared_ptr<steer::SoftSteering> soft)
      : device_(std::move(device)), soft_(std::move(soft)) {}

  Error set_flow(steer::Protocol protocol, const wire::FlowKey& flow, steer::Owner owner) override {
    if (const Error error = soft_->set_flow(protocol, flow, owner)) return error;
    if (!device_) return kOk;
    const Error error = device_->set_flow(protocol, flow, owner);
    // A flow that the device cannot leave to the kernel comes here and goes on from here.
    return owner == steer::Owner::kKernel
               ? kOk
               : undo(error, [&] { static_cast<void>(soft_->remove_flow(protocol, flow)); });
  }
  Error remove_flow(steer::Protocol protocol, const wire::FlowKey& flow) override {
    if (device_) static_cast<void>(device_->remove_flow(protocol, flow));
    return soft_->remove_flow(protocol, flow);
  }
  Error add_port_block(steer::Protocol protocol, uint16_t first_port) override {
    if (const Error error = soft_->add_port_block(protocol, first_port)) return error;
    return undo(device_ ? device_->add_port_block(protocol, first_port) : kOk,
                [&] { static_cast<void>(soft_->remove_port_block(protocol, first_port)); });
  }
  Error remove_port_block(steer::Protocol protocol, uint16_t first_port) override {
    if (device_) static_cast<void>(device_->remove_port_block(protocol, first_port));
    return soft_->remove_port_block(protocol, first_port);
  }
  Error add_local(steer::Protocol protocol, const wire::Endpoint& local) override {
    if (const Error error = soft_->add_local(protocol, local)) return error;
    return undo(device_ ? device_->add_local(protocol, local) : kOk,
                [&] { static_cast<void>(soft_->remove_local(protocol, local)); });
  }
  Error remove_local(steer::Protocol protocol, const wire::Endpoint& local) override {
    if (device_) static_cast<void>(device_->remove_local(protocol, local));
    return soft_->remove_local(protocol, local);
  }
  Error add_address(const wire::IpAddress& address) override {
    if (const Error error = soft_->add_address(address)) return error;
    return device_ ? device_->add_address(address) : kOk;
  }
  Error remove_address(const wire::IpAddress& address) override {
    if (device_) static_cast<void>(device_->remove_address(address));
    return soft_->remove_address(address);
  }
  steer::SteeringCounters counters() const override { return soft_->counters(); }
  void each_rule(const steer::RuleVisitor& visit) const override {
    bool more = true;
    const steer::RuleVisitor both = [&](const steer::RuleReport& rule) {
      return more = visit(rule);
    };
    if (device_) device_->each_rule(both);
    if (more) soft_->each_rule(both);
  }
  std::vector<steer::Refusal> refusals() const override {
    std::vector<steer::Refusal> all = soft_->refusals();
    if (!device_) return all;
    for (steer::Refusal& refusal : device_->refusals()) all.push_back(std::move(refusal));
    return all;
  }
  void close() override {
    if (device_) device_->close();
    soft_->close();
  }

 private:
  template <typename Undo>
  static Error undo(Error error, Undo&& take_back) {
    if (error) take_back();
    return error;
  }

  std::unique_ptr<steer::Steering> device_;
  std::shared_ptr<steer::SoftSteering> soft_;
};

}  // namespace millrace
