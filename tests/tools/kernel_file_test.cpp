// RUN/kernels.json: what was measured, written and read again, and files that are not that.
#include "tools/training/kernel_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/says.h"
#include "tests/tools/temporary_folder.h"
#include "tools/files/atomic_file.h"

namespace tapescope {
namespace {

using Json = nlohmann::ordered_json;

KernelMeasurement measured() {
  KernelMeasurement m;
  m.kernels = {{"conv2d f32 14x14 16->16 3x3 pad 1", {"winograd", "by_tap"}, {0.004, 0.0025}, 1},
               {"conv2d_data_gradient bf16 7x7 8->8 1x1 stride 2",
                {"widened", "winograd"},
                {0.001, 0.002},
                0}};
  m.asked = 5;
  m.usual_step = 0.131;
  m.step = 0.122;
  m.seconds = 4.2;
  return m;
}

class KernelFile : public ::testing::Test {
 protected:
  std::filesystem::path file() const { return folder_ / "kernels.json"; }
  Json written() const { return Json::parse(kernel_file_text(measured(), Device::cpu())); }
  KernelChoices read(const std::string& text) const {
    write_atomically(file(), text);
    return read_kernel_file(file(), Device::cpu());
  }
  void expect_refused(const Json& json, const std::vector<std::string>& parts) const {
    expect_refused(json.dump(), parts);
  }
  void expect_refused(const std::string& text, const std::vector<std::string>& parts) const {
    try {
      read(text);
      FAIL() << "taken: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::usage);
      EXPECT_SAYS(std::string(error.what()), file().string());
      for (const std::string& part : parts) EXPECT_SAYS(std::string(error.what()), part);
    }
  }
  TemporaryFolder folder_;
};

TEST_F(KernelFile, WhatWasMeasuredIsReadAgain) {
  EXPECT_EQ(read(kernel_file_text(measured(), Device::cpu())), measured().choices());
  const Json json = written();
  EXPECT_EQ(json["device"], "cpu");
  EXPECT_EQ(json["kernels"][0]["family"], "conv2d");
  EXPECT_EQ(json["kernels"][0]["dtype"], "f32");
  EXPECT_EQ(json["kernels"][0]["shape"], "14x14 16->16 3x3 pad 1");
  EXPECT_EQ(json["kernels"][0]["variant"], "by_tap");
  EXPECT_EQ(json["kernels"][0]["usual"], "winograd");
  EXPECT_EQ(json["kernels"][0]["milliseconds"]["winograd"], 4.0);
  for (const char* name : {"processor", "instruction set", "threads", "step milliseconds"}) {
    EXPECT_TRUE(json.contains(name)) << name;
  }
  const std::string told = sentence_of(measured());
  for (const char* part :
       {"2 of 5 shapes", "4 kernels timed in 4.2 s", "1 chosen otherwise", "131 -> 122 ms"}) {
    EXPECT_SAYS(told, part);
  }
}

TEST_F(KernelFile, WhatIsNoneIsRefusedByName) {
  expect_refused(std::string("not JSON"), {"is damaged"});
  expect_refused(std::string("[1, 2]"), {"is damaged", "no JSON object"});
  expect_refused(Json::object(), {"no file of measured kernels", "'none'", "--kernel measured"});
  const std::string whole = kernel_file_text(measured(), Device::cpu());
  expect_refused(whole.substr(0, whole.size() / 2), {"is damaged"});
  Json json = written();
  json["format"] = "tapescope kernels 0";
  expect_refused(json, {"'tapescope kernels 0'", "'tapescope kernels 1'", "--kernel measured"});
  json["format"] = 1;
  expect_refused(json, {"no file of measured kernels"});
  for (const char* name : {"device", "kernels"}) {
    json = written();
    json.erase(name);
    expect_refused(json, {"is damaged", name});
  }
  for (const char* name : {"family", "dtype", "shape", "variant"}) {
    json = written();
    json["kernels"][1].erase(name);
    expect_refused(json, {"is damaged", name});
    json = written();
    json["kernels"][1][name] = 7;
    expect_refused(json, {"is damaged", "string"});
  }
  json = written();
  json["kernels"].push_back(json["kernels"][0]);
  expect_refused(json, {"twice", "conv2d f32 14x14 16->16 3x3 pad 1"});
}

TEST_F(KernelFile, WhatCannotRunHereIsRefusedWithARemedy) {
  Json json = written();
  json["device"] = "cuda";
  expect_refused(json, {"'cuda'", "'cpu'", "--kernel measured"});
  json = written();
  json["kernels"][0]["variant"] = "quantum";
  expect_refused(json, {"'quantum'", "conv2d f32 14x14 16->16 3x3 pad 1", "none of this version's",
                        "--kernel measured"});
  json["kernels"][0]["variant"] = "implicit_gemm";  // of GPUs
  expect_refused(json, {"'implicit_gemm'", "none of this version's"});
  json = written();
  json["device"] = "emulated";
  for (Json& kernel : json["kernels"]) kernel["variant"] = "wgmma";
  write_atomically(file(), json.dump());
  for (const VariantInfo& info : all_variants()) {
    if (info.device != DeviceKind::emulated || info.name != "wgmma" || info.family != "conv2d" ||
        info.reason.empty()) {
      continue;
    }
    EXPECT_THROW(read_kernel_file(file(), Device::emulated()), Error) << info.reason;
  }
}

TEST(KernelOption, IsNamesMeasuredOrAFile) {
  EXPECT_FALSE(parse_kernels("").by_shape());
  const KernelRequest both = parse_kernels("conv2d=reference,measured");
  EXPECT_TRUE(both.measured);
  EXPECT_EQ(both.by_name, (KernelChoices{{"conv2d", "reference"}}));
  const KernelRequest file = parse_kernels("runs/a=b/kernels.json,matmul=simd");
  EXPECT_EQ(file.file, "runs/a=b/kernels.json");
  EXPECT_EQ(file.by_name, (KernelChoices{{"matmul", "simd"}}));
  for (const char* wrong : {"conv2d=quantum", "conv2d", "measure", "a.json,b.json",
                            "measured,a.json", "conv2d=reference,", "kernels.txt"}) {
    EXPECT_THROW(parse_kernels(wrong), Error) << wrong;
  }
}

}  // namespace
}  // namespace tapescope
