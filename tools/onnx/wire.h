// Looks a file of protobuf's wire format over before a parser makes messages of it: a few bytes can
// ask for much memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tapescope::onnx {

struct WireLimits {
  std::int64_t nodes = 1'000'000;
  std::int64_t parts = 6'000'000;                // messages, strings and byte fields, at any depth
  std::int64_t numbers = std::int64_t{1} << 26;  // written one by one, 8 bytes each once parsed
  int nesting = 32;
};

// Throws a usage error that names `what` where `bytes` are no ONNX model (or, with `tensor`, no
// single tensor), are cut short, nest deeper or hold more than the limits.
void check_wire(std::string_view bytes, const std::string_view what, bool tensor = false,
                const WireLimits& limits = {});

// A checked model without the raw numbers of its graph's initialisers where they are many: a parser
// would copy them. `raw` receives one view into `bytes` for each initialiser, in order; empty where
// its numbers were left in.
std::string without_raw(std::string_view bytes, std::vector<std::string_view>& raw);

}  // namespace tapescope::onnx
