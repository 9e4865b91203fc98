#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/device.h"
#include "engine/isa.h"
#include "engine/runtime.h"
#include "engine/thread_pool.h"
#include "kernels/common/variant.h"
#include "tools/cli/cli.h"

namespace tapescope::cli {
namespace {

std::vector<std::string> dtypes_of(const VariantInfo& info) {
  std::vector<std::string> names;
  for (DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8}) {
    if (info.dtypes.contains(dtype)) names.emplace_back(name_of(dtype));
  }
  return names;
}

int print_json() {
  nlohmann::ordered_json kernels = nlohmann::ordered_json::array();
  for (const VariantInfo& info : all_variants()) {
    kernels.push_back({{"family", info.family},
                       {"device", name_of(info.device)},
                       {"variant", info.name},
                       {"dtypes", dtypes_of(info)},
                       {"compiled", info.reason.empty()},
                       {"reason", info.reason},
                       {"note", info.note}});
  }
  fmt::print("{}\n", nlohmann::ordered_json{{"isa", name_of(isa())}, {"kernels", kernels}}.dump(2));
  return 0;
}

int print_table() {
  fmt::print("instruction set {}, {} threads\n", name_of(isa()), thread_count());
  for (DeviceKind device : {DeviceKind::cuda, DeviceKind::emulated}) {
    const std::string why = why_unavailable(device);
    fmt::print("device {}: {}\n", name_of(device),
               why.empty() ? DeviceRuntime::of({device}).description() : "not available, " + why);
  }
  // Columns as wide as what is in them.
  std::vector<std::array<std::string, 5>> rows{{"family", "device", "variant", "dtypes", ""}};
  std::array<std::size_t, 4> width{};
  for (const VariantInfo& info : all_variants()) {
    rows.push_back(
        {std::string(info.family), std::string(name_of(info.device)), std::string(info.name),
         fmt::format("{}", fmt::join(dtypes_of(info), " ")),
         info.reason.empty() ? std::string(info.note) : "missing: " + std::string(info.reason)});
  }
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < width.size(); ++c) width[c] = std::max(width[c], row[c].size());
  }
  fmt::print("\n");
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < width.size(); ++c) line += fmt::format("{:<{}} ", row[c], width[c]);
    line += row[4];
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  }
  return 0;
}

std::function<int()> setup(CommandLine& line) {
  auto json = std::make_shared<bool>(false);
  line.flag("--json", *json, "print one JSON object");
  return [json] { return *json ? print_json() : print_table(); };
}

}  // namespace

const Subcommand kKernels = {"kernels", "list every kernel: family, device, variant, dtypes",
                             "tapescope kernels --json", setup};

}  // namespace tapescope::cli
