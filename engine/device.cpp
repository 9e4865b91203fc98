#include "engine/device.h"

#include "engine/cuda_library.h"
#include "engine/remedy.h"

namespace tapescope {

std::string_view name_of(DeviceKind kind) {
  constexpr std::string_view names[] = {"cpu", "cuda", "emulated"};
  return names[static_cast<std::size_t>(kind)];
}

std::string why_unavailable(DeviceKind kind) {
  return kind == DeviceKind::cuda ? why_no_cuda() : "";
}

Device device_from_name(std::string_view name) {
  if (name == "auto") {
    return why_unavailable(DeviceKind::cuda).empty() ? Device::cuda() : Device::cpu();
  }
  for (DeviceKind kind : {DeviceKind::cpu, DeviceKind::cuda, DeviceKind::emulated}) {
    if (name != name_of(kind)) continue;
    if (std::string reason = why_unavailable(kind); !reason.empty()) {
      throw ErrorWithRemedy(Remedy::cpu,
                            usage_error("device '{}' cannot be used: {}; try cpu", name, reason));
    }
    return {kind};
  }
  throw usage_error("unknown device '{}'; known are auto, cpu, cuda and emulated", name);
}

}  // namespace tapescope
