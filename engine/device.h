// Where memory lives and where kernels run.
#pragma once

#include <string>
#include <string_view>

namespace tapescope {

enum class DeviceKind : unsigned char { cpu, cuda, emulated };

struct Device {
  DeviceKind kind = DeviceKind::cpu;

  static constexpr Device cpu() { return {DeviceKind::cpu}; }
  static constexpr Device cuda() { return {DeviceKind::cuda}; }
  static constexpr Device emulated() { return {DeviceKind::emulated}; }
  friend bool operator==(const Device&, const Device&) = default;
};

std::string_view name_of(DeviceKind kind);

// "auto", "cpu", "cuda" or "emulated". `auto` takes the GPU where there is one; a device that was
// named and cannot be had is an error that says why, never a silent fall-back.
Device device_from_name(std::string_view name);

// Empty when the device can be used, otherwise the reason why not.
std::string why_unavailable(DeviceKind kind);

}  // namespace tapescope
