// `tapescope train --kernel measured`: the file that it leaves, and what goes by it.
#include "kernels/conv2d/onednn.h"
#include "tests/cli/ranks_training.h"
#include "tests/says.h"

namespace tapescope {
namespace {

class MeasuredKernels : public TrainingOfRanks {
 protected:
  void SetUp() override {
    if (!onednn::missing.empty()) GTEST_SKIP() << "each shape has one kernel: " << onednn::missing;
  }
  // With one convolution's choice turned from what the table would take, so that bits tell.
  static void turn(const std::string& from, const std::string& to) {
    json file = json::parse(text_of(from));
    int turned = 0;
    for (json& kernel : file["kernels"]) {
      for (const auto& [variant, time] : kernel["milliseconds"].items()) {
        if (variant == kernel["usual"]) continue;
        kernel["variant"] = variant;
        ++turned;
      }
    }
    ASSERT_GT(turned, 0);
    std::ofstream(to) << file.dump(2);
  }
};

TEST_F(MeasuredKernels, AreKeptAndDecideTheBits) {
  const Result first = tapescope_program(resnet20("measured", 2) + Words{"--kernel", "measured"});
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_SAYS(first.err, "shapes have several; ");
  EXPECT_SAYS(first.err, "kernels timed in ");
  const json file = json::parse(MeasuredKernels::file("measured", "kernels.json"));
  ASSERT_FALSE(file["kernels"].empty());
  EXPECT_EQ(file["device"], "cpu");
  for (const json& kernel : file["kernels"]) EXPECT_NE(kernel["variant"], "reference");

  // Another training with these has the same bits.
  const std::string kept = at("measured") + "/kernels.json";
  expect_trained(resnet20("again", 2) + Words{"--kernel", kept});
  expect_same_run("measured", "again");
  EXPECT_EQ(text_of(kept), MeasuredKernels::file("again", "kernels.json"));
  for (const char* run : {"measured", "again"}) {
    const Result verified = tapescope_program({"verify-run", at(run)});
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
  }
}

TEST_F(MeasuredKernels, AnInterruptedRunGoesOnBitForBit) {
  expect_trained(resnet20("source", 1) + Words{"--kernel", "measured"});
  const std::string turned = at("turned.json");
  turn(at("source") + "/kernels.json", turned);
  expect_trained(resnet20("usual", 30));
  expect_trained(resnet20("whole", 30) + Words{"--kernel", turned});
  EXPECT_FALSE(file("usual", "checkpoints/last.safetensors") ==
               file("whole", "checkpoints/last.safetensors"))
      << "the choices change nothing";
  stop_when_begun(resnet20("part", 30) + Words{"--kernel", turned}, "part");
  fs::remove(turned);  // the run has its own
  const Result resumed = tapescope_program({"train", "--resume", "--out", at("part")});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(resumed.err.find("kernels timed"), std::string::npos) << resumed.err;
  expect_same_run("whole", "part");
  // Ranks, who have other rows and pieces, take the same.
  expect_trained(resnet20("ranks", 30) +
                 Words{"--kernel", at("whole") + "/kernels.json", "--ranks", "2"});
  expect_same_run("whole", "ranks");
}

TEST_F(MeasuredKernels, OfRanksAreMeasuredOnceForAll) {
  expect_trained(resnet20("shared", 2) + Words{"--kernel", "measured", "--ranks", "2"});
  expect_trained(resnet20("alone", 2) + Words{"--kernel", at("shared") + "/kernels.json"});
  expect_same_run("alone", "shared");
}

TEST_F(MeasuredKernels, AFileThatIsWrongIsRefusedByName) {
  expect_trained(resnet20("good", 1) + Words{"--kernel", "measured"});
  const std::string own = at("good") + "/kernels.json", text = text_of(own);
  const Words resume = {"train", "--resume", "--out", at("good")};
  const auto expect_refused = [&](const std::string& content, const char* part) {
    std::ofstream(own) << content;
    const Result result = tapescope_program(resume);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_SAYS(result.err, own);
    EXPECT_SAYS(result.err, part);
  };
  expect_refused("{", "is damaged");
  json file = json::parse(text);
  file["kernels"][0]["variant"] = "quantum";
  expect_refused(file.dump(), "'quantum'");
  // One that is there and does not cover its shape.
  file = json::parse(text);
  for (json& kernel : file["kernels"]) {
    if (kernel["family"] == "conv2d") kernel["variant"] = "depthwise";
  }
  expect_refused(file.dump(), "'depthwise'");
  const Result verified = tapescope_program({"verify-run", at("good")});
  EXPECT_EQ(verified.status, 2) << verified.err;
  std::ofstream(own) << text;
  EXPECT_EQ(tapescope_program(resume).status, 0);
  fs::remove(own);
  const Result anew = tapescope_program(resume);
  EXPECT_EQ(anew.status, 0) << anew.err;
  EXPECT_SAYS(anew.err, "is gone: kernels are measured anew");
  EXPECT_TRUE(fs::exists(own));
}

TEST_F(MeasuredKernels, OtherCommandsTakeThemAndTheEmulatorDoesNot) {
  expect_trained(resnet20("run", 1) + Words{"--kernel", "measured"});
  const std::string picture = at("colours") + "/test/red/22.png";
  for (const std::string& kernels : {std::string("measured"), at("run") + "/kernels.json"}) {
    const Result answer =
        tapescope_program({"predict", "--run", at("run"), "--kernel", kernels, picture});
    EXPECT_EQ(answer.status, 0) << answer.err;
  }
  expect_trained(resnet20("plain", 1));
  const Result none =
      tapescope_program({"predict", "--run", at("plain"), "--kernel", "measured", picture});
  EXPECT_EQ(none.status, 2);
  EXPECT_SAYS(none.err, at("plain") + "/kernels.json");
  const Result emulated = tapescope_program(resnet20("emulated", 1) +
                                            Words{"--kernel", "measured", "--device", "emulated"});
  EXPECT_EQ(emulated.status, 2);
  EXPECT_SAYS(emulated.err, "the emulator's times say nothing");
  const Result plan =
      tapescope_program(resnet20("plan", 1) + Words{"--kernel", "measured", "--plan"});
  EXPECT_EQ(plan.status, 0) << plan.err;
  EXPECT_EQ(plan.err.find("kernels timed"), std::string::npos) << "--plan does not measure";
}

}  // namespace
}  // namespace tapescope
