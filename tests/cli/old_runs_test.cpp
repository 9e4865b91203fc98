// Runs that an older version made (fixtures/make_old_runs.sh) open, evaluate to the same numbers,
// explain to the same maps, and go on.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kRuns = fs::path(TAPESCOPE_SOURCE_DIR) / "tests/fixtures/old_runs";

void expect_near(double got, double want, const std::string& what) {
  EXPECT_NEAR(got, want, 1e-5 * (1 + std::fabs(want))) << what;
}

// Every number of `want` stands in `got`, which may know more.
void expect_same_numbers(const json& got, const json& want, const std::string& where) {
  if (want.is_number()) {
    ASSERT_TRUE(got.is_number()) << where;
    expect_near(got.get<double>(), want.get<double>(), where);
  } else if (want.is_object()) {
    for (const auto& [key, value] : want.items()) {
      ASSERT_TRUE(got.contains(key)) << where << "." << key;
      expect_same_numbers(got[key], value, where + "." + key);
    }
  } else if (want.is_array()) {
    ASSERT_EQ(got.size(), want.size()) << where;
    for (std::size_t i = 0; i < want.size(); ++i) {
      expect_same_numbers(got[i], want[i], where + "[" + std::to_string(i) + "]");
    }
  } else {
    EXPECT_EQ(got, want) << where;
  }
}

// The f32 values of a file that `explain` wrote: behind a head whose length it says.
std::vector<float> npy(const fs::path& path) {
  const std::vector<std::uint8_t> bytes = get(path);
  const std::size_t head = 10u + bytes[8] + 256u * bytes[9];
  std::vector<float> values((bytes.size() - head) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + head, values.size() * sizeof(float));
  return values;
}

void expect_same_map(const fs::path& got, const fs::path& want) {
  const std::vector<float> a = npy(got), b = npy(want);
  ASSERT_EQ(a.size(), b.size()) << want;
  float largest = 0;
  for (float v : b) largest = std::max(largest, std::fabs(v));
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-5 * largest) << want << i;
}

class OldRuns : public testing::TestWithParam<const char*> {
 protected:
  fs::path run() const { return kRuns / GetParam(); }
  std::string data() const {
    return (kRuns / (GetParam() == std::string("whole") ? "data/images" : "data")).string();
  }
};

TEST_P(OldRuns, EvaluateToTheSameNumbers) {
  const Result result =
      tapescope_program({"eval", "--run", run().string(), "--data", data(), "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  expect_same_numbers(json::parse(result.out), json::parse(text_of(run() / "eval.json")), "");
}

TEST_P(OldRuns, ExplainToTheSameMaps) {
  TemporaryFolder out;
  std::string methods;
  std::vector<fs::path> maps;
  for (const auto& entry : fs::directory_iterator(run() / "maps")) {
    if (entry.path().extension() != ".npy") continue;
    maps.push_back(entry.path());
    methods += (methods.empty() ? "" : ",") + entry.path().stem().extension().string().substr(1);
  }
  ASSERT_GE(maps.size(), 2u);
  std::vector<std::string> command{
      "explain", "--run",    run().string(), (kRuns / "data/images/test/circle/0000.png"),
      "--out",   out.path(), "--method",     methods};
  if (run().filename() == "boxes") command.insert(command.end(), {"--at", "12,12"});
  const Result result = tapescope_program(command);
  ASSERT_EQ(result.status, 0) << result.err;
  for (const fs::path& map : maps) expect_same_map(out / map.filename().string(), map);
}

TEST_P(OldRuns, AreInspected) {
  for (const char* what : {"structure", "parameters"}) {
    const Result result = tapescope_program({"inspect", what, "--run", run().string()});
    EXPECT_EQ(result.status, 0) << result.err;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryTask, OldRuns, testing::Values("whole", "boxes"),
                         [](const auto& info) { return std::string(info.param); });

// Its dropout draws from other keys since, so that bits differ: which is said.
TEST(OldRun, ThatWasStoppedGoesOn) {
  TemporaryFolder folder;
  fs::copy(kRuns / "part", folder / "run", fs::copy_options::recursive);
  const Result result = tapescope_program({"train", "--resume", "--out", (folder / "run").string(),
                                           "--data", (kRuns / "data/images").string()});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("continuing at step 3"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("started by an older version"), std::string::npos) << result.err;
  EXPECT_EQ(json::parse(text_of(folder / "run/metrics.json"))["epochs"], 3);
  const Safetensors got = read_safetensors(folder / "run/checkpoints/last.safetensors"),
                    want = read_safetensors(kRuns / "whole/checkpoints/last.safetensors");
  ASSERT_EQ(got.tensors.size(), want.tensors.size());
  for (const StoredTensor& stored : want.tensors) {
    const Tensor* tensor = got.find(stored.name);
    ASSERT_NE(tensor, nullptr) << stored.name;
    ASSERT_EQ(tensor->type(), stored.tensor.type());
  }
}

}  // namespace
}  // namespace tapescope
