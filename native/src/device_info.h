// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace gatun {

// The part of gatun_info that depends on the device. Each library has its own device_info().
struct DeviceInfo {
  std::string json;   // members of a JSON object, among them "device"
  std::string level;  // what operations run on: an instruction set, an architecture
};

DeviceInfo device_info();

}  // namespace gatun
