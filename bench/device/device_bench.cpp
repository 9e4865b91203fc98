// One question to a device in a process of its own, answered by rows of JSON: what tools/gpu-check
// runs. The exit status is 0 only if no row says "failed".
#include "bench/device/device_bench.h"

#include <fmt/format.h>

#include <cstdio>
#include <vector>

#include "autograd/op.h"
#include "engine/error.h"
#include "kernels/cases/cases.h"

namespace tapescope {

void DeviceBench::row(const std::string& name, std::string_view result,
                      const nlohmann::ordered_json& figures) {
  nlohmann::ordered_json row = {{"name", name}, {"result", result}};
  row.update(figures);
  failed |= result == "failed";
  fmt::print("{}\n", row.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  std::fflush(stdout);
}

namespace {

constexpr const char* kUsage =
    "usage: device_bench ops | shapes FAMILY | check OP... | kernels FAMILY... | step MODEL... |\n"
    "       nccl gathered|fast...\n"
    "  --device cuda|emulated  --dtype f32|bf16  --small  what the emulator can take\n"
    "  check, kernels: --own   without cuDNN and cuBLAS\n"
    "  kernels:        --best  the first own rung and the library only\n"
    "  step:           --profile  node by node, --steps N  so many and no times\n"
    "device_bench step lenet --device emulated --small";

int run(int argc, char** argv) {
  DeviceBench bench;
  bench.device = Device::cuda();
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&]() -> std::string {
      if (++i == argc) throw usage_error("{} needs a value\n{}", word, kUsage);
      return argv[i];
    };
    if (word == "--device") {
      bench.device = device_from_name(value());
    } else if (word == "--dtype") {
      const std::string name = value();
      if (name != "f32" && name != "bf16") throw usage_error("--dtype {}\n{}", name, kUsage);
      bench.dtype = name == "bf16" ? DType::bf16 : DType::f32;
    } else if (word == "--steps") {
      bench.steps = std::atoi(value().c_str());
    } else if (word == "--small") {
      bench.small = true;
    } else if (word == "--best") {
      bench.best = true;
    } else if (word == "--own") {
      bench.own = true;
    } else if (word == "--profile") {
      bench.profile = true;
    } else if (word.starts_with("-")) {
      throw usage_error("no option {}\n{}", word, kUsage);
    } else {
      words.push_back(word);
    }
  }
  if (bench.device.kind == DeviceKind::cpu) throw usage_error("--device cpu\n{}", kUsage);
  if (words.size() == 1 && words[0] == "ops") {
    for (const OpEntry& op : all_ops()) fmt::print("{}\n", op.name);
    return 0;
  }
  if (words.size() == 2 && words[0] == "shapes") {
    const kernel_cases::Family& family = kernel_cases::family_named(words[1]);
    for (const auto& shape : bench.small ? family.small : family.large) fmt::print("{}\n", shape);
    return 0;
  }
  const std::string what = words.empty() ? "" : words[0];
  const auto answer = what == "check"     ? check_op
                      : what == "kernels" ? time_kernels
                      : what == "step"    ? time_steps
                      : what == "nccl"    ? check_nccl
                                          : nullptr;
  if (answer == nullptr || words.size() < 2) throw usage_error("{}", kUsage);
  for (std::size_t i = 1; i < words.size(); ++i) answer(bench, words[i]);
  return bench.failed ? 1 : 0;
}

}  // namespace
}  // namespace tapescope

int main(int argc, char** argv) {
  try {
    return tapescope::run(argc, argv);
  } catch (const tapescope::Error& error) {
    fmt::print(stderr, "device_bench: {}\n", error.what());
    return error.blame() == tapescope::Blame::usage ? 2 : 1;
  }
}
