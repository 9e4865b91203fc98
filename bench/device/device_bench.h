// What a device is asked for by tools/gpu-check. Each function prints what it finds as rows, JSON
// objects of a line each, as soon as it knows them: what ran before a crash is not lost.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "engine/device.h"
#include "engine/type.h"

namespace tapescope {

struct DeviceBench {
  Device device;
  DType dtype = DType::f32;
  bool small = false;    // sizes that the emulator can take
  bool best = false;     // of the variants, what would be taken and what it is measured by
  bool own = false;      // without cuDNN and cuBLAS
  bool profile = false;  // a step node by node
  int steps = 0;         // just so many steps, untimed: for a profiler
  bool failed = false;   // whether a row says so

  // result: "passed", "failed", "measured" or "missing" (what should be measured by is not here).
  // Figures are named by their units.
  void row(const std::string& name, std::string_view result,
           const nlohmann::ordered_json& figures = nlohmann::ordered_json::object());
};

// An op's variants on the device against the f64 reference; unless `own`, also the op and its
// gradient recorded there. Throws a usage error where there is no such op.
void check_op(DeviceBench& bench, const std::string& op);

// Variants of a kernel family at the device's shapes of kernels/cases, in turns over rotating
// buffers: time, share of the copy bandwidth measured in the same process, of the library's speed.
void time_kernels(DeviceBench& bench, const std::string& family);

// Whole training steps of a model: forward, gradient, SGD. pytorch_steps.py has the same sizes.
void time_steps(DeviceBench& bench, const std::string& model);

// Sums of one rank by NCCL, "gathered" or "fast", alone and from a CUDA graph.
void check_nccl(DeviceBench& bench, const std::string& sums);

}  // namespace tapescope
