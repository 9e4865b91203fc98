// The rungs of kernels/LADDER.md, run on the emulator with their memory accesses counted:
//
//   build/cpu/ladder matmul          a chapter
//   build/cpu/ladder                 all of them
//   build/cpu/ladder reduce rows:4x10000 [bf16]     a family at another shape
#include <fmt/format.h>

#include <algorithm>

#include "kernels/cases/cases.h"
#include "kernels/emulator/counters.h"

namespace tapescope {
namespace {

struct Chapter {
  std::string_view family;
  std::string_view shape;
  DType dtype = DType::f32;
};
const Chapter kChapters[] = {
    {"unary", "relu:65536"},
    {"reduce", "rows:64x4096"},
    {"reduce", "columns:4096x64"},
    {"log_softmax", "64x1024"},
    {"transpose", "1x256x256"},
    {"matmul", "nn:128x128x128"},
    {"conv2d", "2x16x16x32x32x3x1"},
    {"matmul", "nn:128x128x128", DType::bf16},
    {"batch_norm_training", "4096x64"},
};

emulator::Counters counted(const kernel_cases::CaseVariant& variant, kernel_cases::Memory& memory) {
  const Plan plan = variant.prepare();
  memory.run(plan);  // the workspace is there afterwards
  std::vector<emulator::Range> global;
  for (const Tensor& t : memory.operands()) global.push_back({t.data(), t.bytes()});
  for (const Tensor& t : memory.results()) global.push_back({t.data(), t.bytes()});
  if (memory.workspace().bytes() > 0) {
    global.push_back({memory.workspace().data(), memory.workspace().bytes()});
  }
  return emulator::count(global, [&] { memory.run(plan); });
}

// Slowest first, as one reads them.
void print(const Chapter& chapter) {
  const kernel_cases::Case c =
      kernel_cases::family_named(chapter.family).make(chapter.shape, chapter.dtype);
  kernel_cases::Memory memory(c, Device::emulated());
  fmt::print("{} {} {}: {:.1f} KiB in and out, {:.2f} MFLOP\n", c.family, c.shape, name_of(c.dtype),
             c.bytes() / 1024, c.flops / 1e6);
  constexpr std::string_view kRow = "{:16} {:>8} {:>8} {:>9} {:>8} {:>6} {:>6} {:>7} {:>5}";
  const auto row = [&](const auto&... cells) {
    std::string line = fmt::vformat(kRow, fmt::make_format_args(cells...));
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  };
  row("", "accesses", "KiB", "KiB", "shared", "bank", "", "", "");
  row("rung", "of warps", "asked", "moved", "accesses", "confl.", "barr.", "shuffle", "mma");
  std::vector<kernel_cases::CaseVariant> rungs = c.variants(DeviceKind::emulated);
  std::reverse(rungs.begin(), rungs.end());
  std::stable_partition(rungs.begin(), rungs.end(), [](const kernel_cases::CaseVariant& v) {
    return !v.name.starts_with("tensor_core") && v.name != "wgmma";
  });
  for (const kernel_cases::CaseVariant& rung : rungs) {
    const emulator::Counters n = counted(rung, memory);
    row(rung.name, n.loads + n.stores,
        fmt::format("{:.1f}", static_cast<double>(n.bytes_read + n.bytes_written) / 1024),
        fmt::format("{:.1f}", static_cast<double>(n.bytes_moved()) / 1024), n.shared_accesses,
        n.bank_conflicts, n.barriers, n.shuffles, n.multiplies);
  }
}

int run(int argc, char** argv) {
  const std::string_view family = argc > 1 ? argv[1] : "";
  if (argc > 2) {
    const std::string_view dtype = argc > 3 ? argv[3] : "f32";
    if (argc > 4 || (dtype != "f32" && dtype != "bf16")) {
      throw usage_error("usage: ladder [FAMILY [SHAPE [f32|bf16]]]");
    }
    print({family, argv[2], dtype == "f32" ? DType::f32 : DType::bf16});
    return 0;
  }
  bool found = false;
  for (const Chapter& chapter : kChapters) {
    if (!family.empty() && chapter.family != family) continue;
    if (found) fmt::print("\n");
    print(chapter);
    found = true;
  }
  if (!found) throw usage_error("there is no chapter '{}'; name a shape as well", family);
  return 0;
}

}  // namespace
}  // namespace tapescope

int main(int argc, char** argv) try {
  return tapescope::run(argc, argv);
} catch (const tapescope::Error& error) {
  fmt::print(stderr, "ladder: {}\n", error.what());
  return error.blame() == tapescope::Blame::usage ? 2 : 1;
}
