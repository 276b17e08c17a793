// SPDX-License-Identifier: MIT
#include "port/af_xdp/device.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "support/rig.h"

using namespace millrace;
using namespace millrace::test;
using af_xdp::Device;

TEST_CASE("device: which drivers leave checksums unfinished") {
  const auto partial = [](const char* driver, bool native) {
    Device device;
    strcpy(device.driver, driver);
    return device.checksums_may_be_partial(native);
  };
  CHECK(partial("veth", true));
  CHECK(partial("veth", false));
  CHECK(partial("tun", true));
  CHECK(!partial("virtio_net", true));
  CHECK(partial("virtio_net", false));
  CHECK(!partial("ixgbe", true));
  CHECK(!partial("ixgbe", false));
  CHECK(!partial("", true));
}

TEST_CASE("device: what is not there, or no Ethernet, is named") {
  Device device;
  SetupError error;
  CHECK(!af_xdp::query_device("nosuch0", device, error));
  CHECK(error.code == ENODEV);
  CHECK(std::string(error.text).find("there are: lo") != std::string::npos);
  CHECK(!af_xdp::query_device("lo", device, error));
  CHECK(error.code == EINVAL);
}

TEST_CASE("device: queues, driver, address and MTU" * needs_root()) {
  VethPair veth(4);
  REQUIRE(veth.ok);
  Inside here(veth.here);
  REQUIRE(run({"ip", "link", "set", "mrh", "mtu", "1400"}));
  Device device;
  SetupError error;
  REQUIRE_MESSAGE(af_xdp::query_device("mrh", device, error), error.text);
  CHECK(std::string(device.driver) == "veth");
  CHECK(device.rx_queues == 4);
  CHECK(device.tx_queues == 4);
  CHECK(device.mtu_bytes == 1400);
  CHECK(device.mac == mac_of("mrh"));
  CHECK(device.up);
  REQUIRE(run({"ip", "link", "set", "mrh", "down"}));
  REQUIRE(af_xdp::query_device("mrh", device, error));
  CHECK(!device.up);
}
