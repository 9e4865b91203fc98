// `tapescope kernels --bench`: what it says of every variant, and the comparison with an earlier
// day.
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/program.h"

namespace tapescope {
namespace {

using Json = nlohmann::json;

Json bench(const std::vector<std::string>& more) {
  std::vector<std::string> words{"kernels", "--json", "--bench"};
  words.insert(words.end(), more.begin(), more.end());
  const Result result = tapescope_program(words);
  EXPECT_EQ(result.status, 0) << result.err;
  return Json::parse(result.out);
}

TEST(KernelBench, TimesEveryVariantBesideTheReference) {
  const Json all = bench({"matmul", "--shape", "nn:33x40x35", "--device", "cpu"});
  std::set<std::string> variants;
  for (const Json& row : all["kernels"]) {
    variants.insert(row["variant"]);
    // 2 M N K over the time; bytes of a, b and c over it.
    const double seconds = row["milliseconds"].get<double>() / 1e3;
    EXPECT_NEAR(row["gflop_per_second"].get<double>() * seconds, 2 * 33 * 40 * 35 / 1e9, 1e-12);
    EXPECT_NEAR(row["gb_per_second"].get<double>() * seconds,
                4 * (33 * 35 + 35 * 40 + 33 * 40) / 1e9, 1e-12);
    EXPECT_LT(row["error"].get<double>(), 1e-5);
    EXPECT_GT(row["share_of_roof"].get<double>(), 0);
  }
  EXPECT_EQ(variants, (std::set<std::string>{"simd", "reference"}));
  const Json emulated = bench({"matmul", "--shape", "nn:33x40x35", "--device", "emulated"});
  EXPECT_EQ(emulated["kernels"].size(), 4u);  // naive, tiled, vectorized, and tensor cores by tf32
  for (const Json& row : emulated["kernels"]) {
    EXPECT_LT(row["error"].get<double>(), row["variant"] == "tensor_core_tf32" ? 1e-2 : 1e-5);
  }
}

TEST(KernelBench, EveryFamilyRunsAndItsTableFits) {
  const Result result = tapescope_program({"kernels", "--bench", "all", "--device", "emulated"});
  ASSERT_EQ(result.status, 0) << result.err;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_EQ(result.out.find("nan"), std::string::npos) << result.out;
  for (const char* family : {"conv2d ", "batch_norm_gradient ", "adamw "}) {
    EXPECT_NE(result.out.find(std::string("\n") + family), std::string::npos) << family;
  }
}

// What stays f32 beside bf16 (a norm's vectors, gradients of weights) has its room.
TEST(KernelBench, EveryFamilyIsRightInBf16) {
  std::set<std::string> families;
  const auto right = [&](const std::string& family, const std::vector<std::string>& more) {
    std::vector<std::string> words{family, "--dtype", "bf16", "--device"};
    words.insert(words.end(), more.begin(), more.end());
    const Json all = bench(words);
    for (const Json& row : all["kernels"]) {
      EXPECT_LT(row["error"].get<double>(), 1e-2) << row;
      families.insert(row["family"]);
    }
  };
  right("all", {"emulated"});
  EXPECT_EQ(families.size(), 18u);  // all but the optimisers, which have no bf16
  right("conv2d_weight_gradient", {"cpu", "--shape", "2x7x7x3x8x5x2"});
  right("batch_norm_training", {"cpu", "--shape", "1024x64"});
  right("batch_norm_gradient", {"cpu", "--shape", "1024x64"});
}

TEST(KernelBench, ComparesWithAnEarlierDay) {
  TemporaryFolder folder;
  Json then = bench({"log_softmax", "--shape", "64x100", "--device", "cpu"});
  const auto compared = [&](double factor) {
    Json changed = then;
    for (Json& row : changed["kernels"])
      row["milliseconds"] = row["milliseconds"].get<double>() * factor;
    std::ofstream(folder / "then.json") << changed;
    return tapescope_program({"kernels", "--bench", "log_softmax", "--shape", "64x100", "--device",
                              "cpu", "--compare", (folder / "then.json").string()});
  };
  const Result faster = compared(1000), slower = compared(1e-3);
  EXPECT_EQ(faster.status, 0) << faster.out;
  EXPECT_NE(faster.out.find("none of 2 takes more than 1.1 times as long"), std::string::npos)
      << faster.out;
  EXPECT_EQ(slower.status, 1) << slower.out;
  EXPECT_NE(slower.out.find("2 of 2 take more than 1.1 times as long"), std::string::npos)
      << slower.out;
}

TEST(KernelBench, RefusesWhatItCannotTime) {
  for (const auto& [words, text] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--bench", "matmal"}, "no shapes are known of a kernel family 'matmal'"},
           {{"--bench", "matmul", "--shape", "12x12"}, "give nn|nt|tn|tt:MxNxK"},
           {{"--bench", "matmul", "--shape", "nn:12x0x12"}, "every extent at least 1"},
           {{"--bench", "matmul,reduce", "--shape", "nn:12x12x12"}, "name one with --bench"},
           {{"--shape", "nn:12x12x12"}, "are of --bench FAMILY"},
           {{"--bench", "sgd", "--dtype", "bf16", "--shape", "8", "--device", "emulated"},
            "no variant covers bf16"},
           {{"--bench", "sgd", "--shape", "8", "--compare", "nowhere.json"}, "nowhere.json"}}) {
    std::vector<std::string> all{"kernels"};
    all.insert(all.end(), words.begin(), words.end());
    const Result result = tapescope_program(all);
    EXPECT_EQ(result.status, 2) << result.out;
    EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
  }
}

}  // namespace
}  // namespace tapescope
