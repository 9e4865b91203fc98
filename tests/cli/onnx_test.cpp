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
  // The same, after what is told of the file.
  static void expect_refused_last(Result result, const std::string& part) {
    const std::size_t end =
        result.err.size() > 1 ? result.err.rfind('\n', result.err.size() - 2) : 0;
    if (end != std::string::npos) result.err.erase(0, end + 1);
    expect_refused(result, part);
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
  expect_refused(raw(net(), "nofile.npy"), "'nofile.npy' does not exist");
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
  expect_refused(tapescope_program({"predict", "--model", "resnet18", picture()}),
                 "train --model resnet18");
  expect_refused_last(
      tapescope_program({"eval", "--model", net(), "--mean", "0", "--std", "1", "--data", data()}),
      "--class-names FILE");
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
  // Dynamic height and width are asked for.
  const std::string open = file("open.onnx", {{conv}, {weights}, any, answer});
  expect_refused(
      tapescope_program({"predict", "--model", open, "--mean", "0", "--std", "1", picture()}),
      "give --image-size");
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

// A net whose answers are no classes: one convolution of 3x3, two maps of 6x8, a Sigmoid.
class OnnxMap : public OnnxProgram {
 protected:
  void SetUp() override {
    OnnxProgram::SetUp();
    using namespace onnx_file_making;
    for (int i = 0; i < 2 * 27; ++i) w.push_back(static_cast<float>((i * 5) % 9 - 4) / 10);
    put(folder / "map.onnx",
        model({{node("Conv", {"x", "w"}, {"z"}, attribute_wholes("pads", {1, 1, 1, 1})),
                node("Sigmoid", {"z"}, {"y"})},
               {reals("w", {2, 3, 3, 3}, w)},
               {port("x", {-1, 3, 6, 8})},
               {port("y", {-1, 2, 6, 8})}}));
    Image image(6, 8, 3);
    PhiloxStream random(5);
    for (std::uint8_t& v : image.pixels) v = static_cast<std::uint8_t>(random.below(256));
    write_png(folder / "p.png", image);
    // As the net is given it: (value / 255 - 0.5) / 0.5, channels first.
    Tensor x(Type{DType::f32, {1, 3, 6, 8}});
    for (std::size_t i = 0; i < 144; ++i) {
      x.values<float>()[i] =
          (static_cast<float>(image.pixels[i % 48 * 3 + i / 48]) / 255 - .5f) * 2;
    }
    write_npy(folder / "x.npy", x);
  }
  Result on_map(std::vector<std::string> words) const {
    for (const char* word : {"--mean", "0.5", "--std", "0.5", "--model"}) words.emplace_back(word);
    words.push_back((folder / "map.onnx").string());
    return tapescope_program(words);
  }
  Result explained(const std::string& target, const std::string& methods) const {
    return on_map({"explain", (folder / "p.png").string(), "--target", target, "--method", methods,
                   "--out", out(), "--json"});
  }
  std::vector<float> w;
};

// Pictures are resized to the net's height and width: one of just that size stays as it is.
TEST_F(OnnxMap, ItsLargestUnitsArePredicted) {
  ASSERT_EQ(
      raw((folder / "map.onnx").string(), (folder / "x.npy").string(), {"--outputs", "z"}).status,
      0);
  const Tensor z = read_npy(folder / "out/z.npy");
  std::vector<float> sorted(z.values<float>().begin(), z.values<float>().end());
  std::sort(sorted.rbegin(), sorted.rend());
  const Result result = on_map({"predict", (folder / "p.png").string(), "--json", "--top", "3"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_SAYS(result.err, "(Sigmoid) at its end is left out");
  const json top = json::parse(result.out)["images"][0]["top"];
  ASSERT_EQ(top.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(top[i]["value"].get<double>(), sorted[i], 1e-5);
    int c = 0, y = 0, x = 0;
    ASSERT_EQ(std::sscanf(top[i]["unit"].get<std::string>().c_str(), "[%d,%d,%d]", &c, &y, &x), 3);
    EXPECT_NEAR(z.item((c * 6 + y) * 8 + x), sorted[i], 1e-5);
  }
}

// The gradient of a unit of a convolution is its weights around the unit's place.
TEST_F(OnnxMap, AUnitIsExplained) {
  const Result result = explained("[1,2,3]", "input-x-gradient,lrp-epsilon");
  ASSERT_EQ(result.status, 0) << result.err;
  const Tensor input = read_npy(folder / "x.npy");
  const json maps = json::parse(result.out)["maps"];
  ASSERT_EQ(maps.size(), 2u);
  for (const json& map : maps) {
    EXPECT_EQ(map["target"], "[1,2,3]");
    const Tensor got = read_npy(map["npy"].get<std::string>());
    ASSERT_EQ(got.shape(), (Shape{1, 6, 8, 3}));
    double sum = 0;
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < 6; ++y) {
        for (int x = 0; x < 8; ++x) {
          const int ky = y - 1, kx = x - 2;
          const bool inside = ky >= 0 && ky < 3 && kx >= 0 && kx < 3;
          const double weight =
              inside ? w[static_cast<std::size_t>(27 + (c * 3 + ky) * 3 + kx)] : 0;
          const double expected = weight * input.item((c * 6 + y) * 8 + x);
          sum += expected;
          EXPECT_NEAR(got.item((y * 8 + x) * 3 + c), expected, 1e-5) << map["method"];
        }
      }
    }
    EXPECT_NEAR(map["value"].get<double>(), sum, 1e-5);
  }
}

TEST_F(OnnxMap, TargetsMayNameTheOutput) {
  EXPECT_EQ(explained("y[0,5,7]", "saliency").status, 0);
  EXPECT_EQ(explained("predicted", "saliency").status, 0);
  expect_refused_last(explained("y[0,6,7]", "saliency"), "is no class");
  expect_refused_last(on_map({"eval", "--data", data()}), "answers no classes");
  expect_refused_last(on_map({"explain", (folder / "p.png").string(), "--method", "saliency",
                              "--score", "--out", out()}),
                      "--score");
}

TEST_F(OnnxProgram, OneNumberIsAUnit) {
  using namespace onnx_file_making;
  put(folder / "one.onnx", model({{node("Flatten", {"x"}, {"f"}), node("Gemm", {"f", "w"}, {"y"})},
                                  {reals("w", {48, 1}, std::vector<float>(48, .25f))},
                                  {port("x", {-1, 3, 4, 4})},
                                  {port("y", {-1, 1})}}));
  const Result result =
      tapescope_program({"explain", "--model", folder / "one.onnx", "--mean", "0.5", "--std", "0.5",
                         picture(), "--method", "input-x-gradient", "--out", out(), "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json map = json::parse(result.out)["maps"][0];
  EXPECT_EQ(map["target"], "[0]");
  const Tensor values = read_npy(map["npy"].get<std::string>());
  double sum = 0;
  for (std::int64_t i = 0; i < values.elements(); ++i) sum += values.item(i);
  EXPECT_NEAR(map["value"].get<double>(), sum, 1e-4);
}

// A classifier of pictures that are not square answers as its graph does on the array.
TEST_F(OnnxMap, AClassifierOfOtherShapes) {
  using namespace onnx_file_making;
  std::vector<float> v;
  for (int i = 0; i < 144 * 3; ++i) v.push_back(static_cast<float>((i * 7) % 11 - 5) / 40);
  put(folder / "wide.onnx", model({{node("Flatten", {"x"}, {"f"}), node("Gemm", {"f", "v"}, {"y"})},
                                   {reals("v", {144, 3}, v)},
                                   {port("x", {-1, 3, 6, 8})},
                                   {port("y", {-1, 3})}}));
  const std::string wide = (folder / "wide.onnx").string();
  ASSERT_EQ(raw(wide, (folder / "x.npy").string()).status, 0);
  const Tensor scores = read_npy(folder / "out/y.npy");
  double total = 0;
  for (int k = 0; k < 3; ++k) total += std::exp(scores.item(k));
  const std::vector<std::string> more = {"--model", wide,  "--mean", "0.5",
                                         "--std",   "0.5", "--json"};
  const auto with = [&](std::vector<std::string> words) {
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  };
  const Result result = with({"predict", (folder / "p.png").string()});
  ASSERT_EQ(result.status, 0) << result.err;
  for (const json& answer : json::parse(result.out)["images"][0]["top"]) {
    const int k = std::stoi(answer["class"].get<std::string>());
    EXPECT_NEAR(answer["probability"].get<double>(), std::exp(scores.item(k)) / total, 1e-5);
  }
  EXPECT_EQ(
      with({"explain", picture(), "--method", "saliency,lrp-epsilon,occlusion", "--out", out()})
          .status,
      0);
  expect_refused_last(with({"predict", picture(), "--resize", "10"}),
                      "--resize is of nets of square");
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
