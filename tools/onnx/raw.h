// A graph run on arrays: files in, files out.
#pragma once

#include <string>
#include <vector>

#include "kernels/common/variant.h"

namespace tapescope::onnx {

struct RawRequest {
  std::string model;
  std::vector<std::string> inputs;   // .npy files in the order of the graph's inputs
  std::vector<std::string> outputs;  // values to answer instead of the graph's own
  std::string out;                   // folder
  bool allow_outside = false;
};
struct RawAnswer {
  std::string name, file, type;  // "logits", "OUT/logits.npy", "f32 {1, 10}"
};

// Writes every output as OUT/NAME.npy, in which characters that do not suit a file's name are "_".
// Throws usage errors as reading and running do, and where an output would replace an input.
std::vector<RawAnswer> run_raw(const RawRequest& request, const Backend& backend);

}  // namespace tapescope::onnx
