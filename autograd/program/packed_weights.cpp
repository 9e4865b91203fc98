#include "autograd/program/packed_weights.h"

#include <mutex>
#include <vector>

namespace tapescope {
namespace {

struct Packed {
  std::string_view layout;
  std::uint64_t version;
  const void* value;  // a tensor may be put in another's place
  Tensor bytes;
};

}  // namespace

const void* packed_weights(Parameter& parameter, const Plan& plan, const Queue& queue) {
  static std::mutex mutex;  // Programs of several threads may read one parameter
  const std::lock_guard<std::mutex> lock(mutex);
  if (!parameter.packed) parameter.packed = std::make_shared<std::vector<Packed>>();
  auto& all = *static_cast<std::vector<Packed>*>(parameter.packed.get());
  const Packing& packing = plan.packing();
  const void* value = parameter.value.data();
  for (Packed& packed : all) {
    if (packed.layout != packing.layout) continue;
    if (packed.version != parameter.version || packed.value != value) {
      plan.pack(queue, value, packed.bytes.data());
      packed.version = parameter.version;
      packed.value = value;
    }
    return packed.bytes.data();
  }
  Tensor bytes({DType::u8, {static_cast<std::int64_t>(packing.bytes)}}, Device::cpu(),
               Purpose::workspace, intern(parameter.name));
  plan.pack(queue, value, bytes.data());
  all.push_back({packing.layout, parameter.version, value, std::move(bytes)});
  return all.back().bytes.data();
}

}  // namespace tapescope
