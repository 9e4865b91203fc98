// State that outlives a tape: weights, running statistics, optimiser moments.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/tensor.h"

namespace tapescope {

// Belongs to the module or optimiser that made it; tapes and Programs share it. Change `value` in
// place and call changed(), so that whoever computed something from it knows.
struct Parameter {
  enum class Kind : std::uint8_t {
    weight,  // trained, subject to weight decay
    bias,    // trained; biases and norms have no weight decay
    buffer,  // saved with the model, not trained: running statistics
    state,   // the optimiser's; saved in the state file
  };

  Parameter(std::string name, Tensor value, Kind kind)
      : name(std::move(name)), value(std::move(value)), kind(kind) {}
  Parameter(const Parameter&) = delete;  // `packed` is of one value

  std::string name;  // "layer1.0.conv1.weight"
  Tensor value;
  Kind kind;
  bool frozen = false;  // --freeze: gets no update
  std::uint64_t version = 0;
  std::shared_ptr<void> packed;  // what kernels made of it: program/packed_weights.h

  bool trained() const { return !frozen && (kind == Kind::weight || kind == Kind::bias); }
  void changed() {
    ++version;
    changes().fetch_add(1, std::memory_order_relaxed);
  }
  // Counts the changes of all parameters: one comparison tells a tape that nothing has changed.
  static std::atomic<std::uint64_t>& changes() {
    static std::atomic<std::uint64_t> count{0};
    return count;
  }
};

using ParameterRef = std::shared_ptr<Parameter>;

// Throws a usage error that says how to move it where the parameter's value is on another device.
inline void check_device(const Parameter& parameter, Device device) {
  if (parameter.value.device() == device) return;
  throw usage_error(
      "parameter '{}' is on device '{}' but is used on '{}'; move the model: move_to()",
      parameter.name, name_of(parameter.value.device().kind), name_of(device.kind));
}

// Moves parameters between devices. Tapes and Programs that read them before must not be used
// again.
inline void move_to(Device device, std::span<const ParameterRef> parameters) {
  for (const ParameterRef& parameter : parameters) {
    if (parameter->value.device() == device) continue;
    parameter->value = parameter->value.to(device);
    parameter->changed();
  }
}

}  // namespace tapescope
