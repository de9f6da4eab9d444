// SPDX-License-Identifier: Apache-2.0
#include "kernels/trial/trial.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace gatun::trial {

namespace {

// The value of "name": in a flat piece of JSON that the library wrote itself.
std::string member(const std::string& json, const std::string& name) {
  const size_t at = json.find("\"" + name + "\":");
  if (at == std::string::npos) return "";
  size_t begin = at + name.size() + 3;
  if (json[begin] == '"') return json.substr(begin + 1, json.find('"', begin + 1) - begin - 1);
  return json.substr(begin, json.find_first_of(",}", begin) - begin);
}

}  // namespace

std::vector<Operation>& operations() {
  static std::vector<Operation> all;
  return all;
}

ShapeText::ShapeText(std::initializer_list<int64_t> shape) {
  for (const int64_t extent : shape) text += (text.empty() ? "(" : ", ") + std::to_string(extent);
  text += ")";
}

Device::Device(int threads) {
  size_t needed = 0;
  call([&](gatun_error* e) { return gatun_info(nullptr, 0, &needed, e); });
  info_.resize(needed);
  call([&](gatun_error* e) { return gatun_info(info_.data(), info_.size(), &needed, e); });
  info_.pop_back();  // the terminating zero
  kind_ = member(info_, "device");
  if (cpu()) cache_bytes_ = std::max<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE), int64_t{32} << 20);
  else cache_bytes_ = std::atoll(member(info_, "l2_bytes").c_str());
  const gatun_context_desc desc{sizeof desc, threads, 0, 0, 0};
  call([&](gatun_error* e) { return gatun_context_create(&desc, &context_, e); });
  call([&](gatun_error* e) { return gatun_stream_create(context_, &stream_, e); });
}

Device::~Device() {
  gatun_stream_destroy(stream_, nullptr);
  gatun_context_destroy(context_, nullptr);
}

void Device::synchronize() const {
  call([&](gatun_error* e) { return gatun_stream_synchronize(stream_, e); });
}

}  // namespace gatun::trial
