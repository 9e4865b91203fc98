// An ONNX file stands wherever a run does: predict, explain, inspect, eval, report,
// benchmark-explanations; and predict --raw, arrays in and arrays out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tests/says.h"
#include "tests/tools/onnx_file.h"
#include "tools/report/npy.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class OnnxProgram : public testing::Test {
 protected:
  static std::string net(const std::string& name = "residual-new") {
    return fixture("onnx/" + name + ".onnx").string();
  }
  void SetUp() override {
    const Result once = raw(net(), fixture("onnx/picture.npy").string());
    if (once.err.find("which this build does not read") != std::string::npos)
      GTEST_SKIP() << once.err;
    for (int i = 0; i < 10; ++i) {
      Image image(20, 24, 3);
      PhiloxStream random(static_cast<std::uint64_t>(i));
      for (std::uint8_t& v : image.pixels) v = static_cast<std::uint8_t>(random.below(256));
      fs::create_directories(folder / fmt::format("data/test/c{}", i % 5));
      write_png(folder / fmt::format("data/test/c{}/{}.png", i % 5, i), image);
    }
    std::ofstream(folder / "names.txt") << "c0\nc1\nc2\nc3\nc4\n";
  }
  Result raw(const std::string& model, const std::string& inputs,
             const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {"predict", "--model", model, "--raw", inputs, "--out", out()};
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  }
  // A command on pictures, with all that the file does not say.
  Result on(std::vector<std::string> words, const std::string& model = net()) const {
    for (const std::string& word :
         {std::string("--model"), model, std::string("--mean"), std::string("0.5"),
          std::string("--std"), std::string("0.5"), std::string("--image-size"), std::string("16"),
          std::string("--class-names"), (folder / "names.txt").string()}) {
      words.push_back(word);
    }
    return tapescope_program(words);
  }
  std::string out() const { return (folder / "out").string(); }
  std::string data() const { return (folder / "data").string(); }
  std::string picture() const { return (folder / "data/test/c0/0.png").string(); }
  // One sentence, status 2.
  static void expect_refused(const Result& result, const std::string& part) {
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_SAYS(result.err, part);
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
  TemporaryFolder folder;
};

TEST_F(OnnxProgram, ArraysInArraysOut) {
  const Result result = raw(net(), fixture("onnx/picture.npy").string());
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_SAYS(result.out, "output  f32 {2, 5}");
  const Tensor ours = read_npy(folder / "out/output.npy");
  const Tensor theirs = read_npy(fixture("onnx/residual.npy"));
  ASSERT_EQ(ours.shape(), theirs.shape());
  for (std::int64_t i = 0; i < ours.elements(); ++i)
    EXPECT_NEAR(ours.item(i), theirs.item(i), 1e-5);
}

TEST_F(OnnxProgram, ArraysThatDoNotFit) {
  const std::string picture = fixture("onnx/picture.npy").string();
  expect_refused(raw(net(), picture + "," + picture), "has 1 inputs ('input'), but 2 are given");
  expect_refused(raw(net(), fixture("onnx/residual.npy").string()),
                 "must have shape (any, 3, 16, 16)");
  expect_refused(raw(net(), net()), "no .npy file");
  expect_refused(raw(net(), picture, {"--outputs", "nothing"}), "no node of");
  put(folder / "cut.onnx", text_of(net()).substr(0, 3000));
  expect_refused(raw((folder / "cut.onnx").string(), picture), "cut short");
  put(folder / "text.onnx", std::string("not a model"));
  expect_refused(raw((folder / "text.onnx").string(), picture), "is no ONNX file");
  expect_refused(raw((folder / "none.onnx").string(), picture), "cannot be read");
  fs::copy(picture, folder / "output.npy");
  expect_refused(
      tapescope_program({"predict", "--model", net(), "--raw", (folder / "output.npy").string(),
                         "--out", folder.path().string()}),
      "--out");
}

TEST_F(OnnxProgram, APictureIsAnswered) {
  const Result result = on({"predict", picture(), "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json top = json::parse(result.out)["images"][0]["top"];
  ASSERT_EQ(top.size(), 5u);
  double sum = 0;
  for (const json& answer : top) sum += answer["probability"].get<double>();
  EXPECT_NEAR(sum, 1, 1e-5);
  EXPECT_EQ(top[0]["class"].get<std::string>().substr(0, 1), "c");
}

TEST_F(OnnxProgram, WhatAFileDoesNotSayIsAskedFor) {
  const std::vector<std::string> plain = {"predict", "--model", net(), picture()};
  expect_refused(tapescope_program(plain), "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225");
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), plain.begin(), plain.end());
    return tapescope_program(more);
  };
  const Result unnamed = with({"--mean", "0.5", "--std", "0.5"});
  EXPECT_EQ(unnamed.status, 0) << unnamed.err;
  EXPECT_SAYS(unnamed.err, "--class-names FILE");
  expect_refused(with({"--mean", "0.5,0.5", "--std", "1"}), "3 channels");
  expect_refused(with({"--mean", "x", "--std", "1"}), "--mean is 'x'");
  expect_refused(with({"--mean", "0", "--std", "1", "--image-size", "32"}), "pictures of 16x16");
}

TEST_F(OnnxProgram, WhatIsNoClassifierOfPicturesIsRefused) {
  using namespace onnx_file_making;
  const auto file = [&](const std::string& name, const Parts& parts) {
    put(folder / name, model(parts));
    return (folder / name).string();
  };
  const std::string weights = reals("w", {2, 3, 3, 3}, std::vector<float>(54, 1));
  const std::string conv = node("Conv", {"x", "w"}, {"y"});
  const std::vector<std::string> any = {port("x", {-1, 3, -1, -1})}, answer = {port("y", {})};
  // Dynamic height and width are asked for; a map of scores is no score per class.
  const std::string open = file("open.onnx", {{conv}, {weights}, any, answer});
  expect_refused(
      tapescope_program({"predict", "--model", open, "--mean", "0", "--std", "1", picture()}),
      "give --image-size");
  expect_refused(on({"predict", picture()}, open), "no number per class");
  expect_refused(on({"predict", picture()},
                    file("two.onnx", {{conv}, {weights}, {any[0], port("z", {1})}, answer})),
                 "has 2 inputs");
  expect_refused(on({"predict", picture()},
                    file("wide.onnx", {{conv}, {weights}, {port("x", {1, 3, 8, 16})}, answer})),
                 "pictures of 8x16");
  expect_refused(on({"predict", picture()},
                    file("int8.onnx", {{node("QLinearConv", {"x"}, {"y"})}, {}, any, answer})),
                 "int8");
  std::string million;
  for (int i = 0; i <= 1'000'000; ++i) million += text(1, "");
  put(folder / "million.onnx", whole(1, 8) + text(7, million));
  expect_refused(on({"predict", picture()}, (folder / "million.onnx").string()), "1000000 nodes");
}

// What gives a score per class at the end of a net of pictures of 4x4.
std::string net_with_end(const std::vector<std::string>& end, int type = 1) {
  using namespace onnx_file_making;
  std::vector<float> w;
  for (int i = 0; i < 3 * 48; ++i) w.push_back(static_cast<float>((i * 7) % 11 - 5) / 40);
  std::vector<std::string> nodes = {node("Flatten", {"x"}, {"f"}), node("Gemm", {"f", "w"}, {"g"})};
  nodes.insert(nodes.end(), end.begin(), end.end());
  return model({nodes,
                {reals("w", {48, 3}, w), wholes("s", {-1, 3})},
                {port("x", {-1, 3, 4, 4})},
                {port("y", {-1, 3}, type)}});
}

TEST_F(OnnxProgram, ASoftmaxIsLeftOutWhateverShapesAreBehindIt) {
  using namespace onnx_file_making;
  const auto answers = [&](const std::vector<std::string>& end) {
    put(folder / "net.onnx", net_with_end(end));
    const Result result = tapescope_program({"predict", "--model", folder / "net.onnx", "--mean",
                                             "0.5", "--std", "0.5", picture(), "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out)["images"][0]["top"];
  };
  const json plain = answers({node("Identity", {"g"}, {"y"})});
  const std::string softmax = node("Softmax", {"g"}, {"p"});
  EXPECT_EQ(answers({softmax, node("Identity", {"p"}, {"y"})}), plain);
  EXPECT_EQ(answers({softmax, node("Reshape", {"p", "s"}, {"y"})}), plain);
  EXPECT_EQ(answers({node("LogSoftmax", {"g"}, {"p"}), node("Flatten", {"p"}, {"y"})}), plain);
}

TEST_F(OnnxProgram, WhatIsNoScoreOfOneClassAmongOthersIsRefused) {
  using namespace onnx_file_making;
  const auto refused = [&](const std::string& bytes, const std::string& part) {
    put(folder / "net.onnx", bytes);
    expect_refused(tapescope_program({"predict", "--model", folder / "net.onnx", "--mean", "0.5",
                                      "--std", "0.5", picture()}),
                   part);
  };
  refused(net_with_end({node("Sigmoid", {"g"}, {"y"})}), "is a Sigmoid");
  refused(net_with_end({node("Sigmoid", {"g"}, {"p"}), node("Identity", {"p"}, {"y"})}), "'g'");
  refused(net_with_end({node("ArgMax", {"g"}, {"y"}, attribute_whole("axis", 1))}, 7), "of int64");
  refused(net_with_end({node("ReduceMean", {"g"}, {"y"}, attribute_wholes("axes", {1}))}),
          "one number per picture");
  // Values that no training gives.
  std::vector<float> w(48 * 3, 0.1f);
  w[5] = NAN;
  refused(model({{node("Flatten", {"x"}, {"f"}), node("Gemm", {"f", "w"}, {"y"})},
                 {reals("w", {48, 3}, w)},
                 {port("x", {-1, 3, 4, 4})},
                 {port("y", {-1, 3})}}),
          "NaN or infinite");
}

TEST_F(OnnxProgram, TheListOfNamesIsNeverAnOutput) {
  const std::string names = (folder / "names.txt").string(), before = text_of(names);
  const Result result = on({"report", "--data", data(), "--out", names});
  EXPECT_EQ(result.status, 2) << result.err;
  EXPECT_EQ(text_of(names), before);
}

TEST_F(OnnxProgram, EveryMethodOfAnImportedNetIsThere) {
  const Result result = on({"explain", picture(), "--method",
                            "saliency,grad-cam,lrp-epsilon-plus,integrated-gradients,deeplift",
                            "--ledger", "--out", out(), "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json maps = json::parse(result.out)["maps"];
  ASSERT_EQ(maps.size(), 5u);
  for (const json& map : maps) {
    const Tensor values = read_npy(map["npy"].get<std::string>());
    double size = 0;
    for (std::int64_t i = 0; i < values.elements(); ++i) size += std::abs(values.item(i));
    EXPECT_TRUE(std::isfinite(size) && size > 0) << map["method"];
  }
}

TEST_F(OnnxProgram, OtherCommandsTakeItToo) {
  const Result evaluated = on({"eval", "--data", data(), "--json"});
  ASSERT_EQ(evaluated.status, 0) << evaluated.err;
  EXPECT_EQ(json::parse(evaluated.out)["images"], 10);
  const Result structure = tapescope_program({"inspect", "structure", "--model", net(), "--json"});
  ASSERT_EQ(structure.status, 0) << structure.err;
  EXPECT_GT(json::parse(structure.out)["totals"]["parameters"].get<double>(), 1000);
  EXPECT_EQ(on({"inspect", "parameters"}).status, 0);
  const Result report = on({"report", "--data", data(), "--out", out() + ".html"});
  EXPECT_EQ(report.status, 0) << report.err;
  EXPECT_TRUE(fs::exists(out() + ".html"));
  const Result scored = on({"benchmark-explanations", "--data", data(), "--method",
                            "saliency,grad-cam", "--limit", "2", "--json"});
  EXPECT_EQ(scored.status, 0) << scored.err;
}

}  // namespace
}  // namespace tapescope
