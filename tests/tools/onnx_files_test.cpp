// Files that somebody made to do harm, or that are merely broken: one sentence each, and no memory
// beyond the limits. The patterns are those of published faults of other readers.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <random>

#include "tests/says.h"
#include "tests/tools/onnx_file.h"
#include "tests/tools/temporary_folder.h"
#include "tools/onnx/metadata.h"
#include "tools/onnx/net.h"
#include "tools/onnx/wire.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using namespace onnx_file_making;

std::vector<onnx::Output> run_bytes(const std::string& bytes, const Tensor& x) {
  return onnx::run(onnx::parse_graph(bytes, "model.onnx"), {x}, Backend{Device::cpu(), {}});
}
Tensor two_by_three() { return Tensor::zeros({DType::f32, {2, 3}}); }

// What reading and running such a model says.
std::string says(const std::string& bytes) {
  const std::string message = usage_message([&] { run_bytes(bytes, two_by_three()); });
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 0) << message;
  return message;
}
std::int64_t peak_mib() {
  rusage use = {};
  ::getrusage(RUSAGE_SELF, &use);
  return use.ru_maxrss >> 10;
}

bool reads_onnx() {
  try {
    onnx::parse_graph(model_of(node("Relu", {"x"}, {"y"})), "model.onnx");
    return true;
  } catch (const Error&) {
    return false;
  }
}
#define SKIP_WITHOUT_ONNX() \
  if (!reads_onnx()) GTEST_SKIP() << "built without protobuf"

// 20 * 1.3f is 26 in float, and less as a double.
TEST(OnnxFiles, LengthsOfAResizeAreReckonedInFloat) {
  for (const auto& [scale, length] : {std::pair{1.3f, 26}, {0.7f, 14}, {2.3f, 46}, {1.7f, 34}}) {
    std::vector<onnx::Output> answer;
    Tensor x(Type{DType::f32, {1, 1, 1, 20}});
    for (int i = 0; i < 20; ++i)
      x.values<float>()[static_cast<std::size_t>(i)] = static_cast<float>(i);
    try {
      answer = onnx::run(
          onnx::parse_graph(
              model({{node("Resize", {"x", "", "scales"}, {"y"},
                           attribute_text("coordinate_transformation_mode", "asymmetric") +
                               attribute_text("nearest_mode", "floor"))},
                     {reals("scales", {4}, {1, 1, 1, scale})},
                     {port("x", {1, 1, 1, 20})},
                     {port("y", {})}}),
              "model.onnx"),
          {x}, Backend{Device::cpu(), {}});
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    ASSERT_EQ(answer[0].tensor.shape(), (Shape{1, 1, 1, length})) << scale;
    for (int p = 0; p < length; ++p) {
      const float from = static_cast<float>(p) / scale;
      EXPECT_EQ(answer[0].tensor.item(p), std::floor(from)) << scale << " at " << p;
    }
  }
}

// As nets that standardise their weights write it: batch norm in training mode, of no picture.
TEST(OnnxFiles, WeightsAreStandardised) {
  if (!reads_onnx()) GTEST_SKIP() << "built without protobuf";
  const std::vector<float> w = {1, 2, 6, -1, 0, 4}, scale = {2, 3}, shift = {0.5f, -1};
  const std::vector<onnx::Output> answer =
      run_bytes(model({{node("BatchNormalization", {"w", "s", "b", "m", "v"}, {"n"},
                             attribute_whole("training_mode", 1)),
                        node("Add", {"x", "n"}, {"y"})},
                       {reals("w", {1, 2, 3}, w), reals("s", {2}, scale), reals("b", {2}, shift),
                        reals("m", {2}, {0, 0}), reals("v", {2}, {1, 1})},
                       {port("x", {1, 2, 3})},
                       {port("y", {})}}),
                Tensor::zeros({DType::f32, {1, 2, 3}}));
  for (std::size_t c = 0; c < 2; ++c) {
    const double mean = (double{w[3 * c]} + w[3 * c + 1] + w[3 * c + 2]) / 3;
    double variance = 0;
    for (std::size_t i = 0; i < 3; ++i) variance += std::pow(w[3 * c + i] - mean, 2) / 3;
    for (std::size_t i = 0; i < 3; ++i) {
      const double expected =
          (w[3 * c + i] - mean) / std::sqrt(variance + 1e-5) * scale[c] + shift[c];
      EXPECT_NEAR(answer[0].tensor.item(static_cast<std::int64_t>(3 * c + i)), expected, 1e-5);
    }
  }
}

// Names by number, in whatever order and spelling.
TEST(OnnxFiles, NamesAreOrderedByTheirNumbers) {
  const auto names = [](const std::string& text) {
    return onnx::metadata_of({{"names", text}}).classes;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names("{2: 'two', 0: 'zero', 1: 'one'}"), (Names{"zero", "one", "two"}));
  EXPECT_EQ(names(R"({"0": "a", "1": "b"})"), (Names{"a", "b"}));
  EXPECT_EQ(names(R"({0: 'caf\xe9', 1: "dog's", 2: 'a\nb'})"),
            (Names{"caf\u00e9", "dog's", "a\nb"}));
  EXPECT_EQ(names("{0: 'a', 2: 'c'}"), Names{});
  EXPECT_EQ(names("{0: 'a'"), Names{});
  EXPECT_EQ(names("nothing"), Names{});
}

TEST(OnnxFiles, AModelRuns) {
  SKIP_WITHOUT_ONNX();
  const auto outputs = run_bytes(
      model_of(node("Add", {"x", "b"}, {"y"}), {reals("b", {3}, {1, 2, 3})}), two_by_three());
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].name, "y");
  EXPECT_EQ(outputs[0].tensor.shape(), (Shape{2, 3}));
  EXPECT_EQ(outputs[0].tensor.item(5), 3);
}

// --- external data
class External : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_ONNX();
    put(folder / "models/data.bin", std::string(64, '\0'));
    put(folder / "secret.bin", std::string(64, '\1'));
  }
  std::string read(const std::string& location, const std::string& offset = "",
                   const std::string& length = "12", bool allow_outside = false) {
    const std::string bytes = model_of(node("Add", {"x", "b"}, {"y"}),
                                       {tensor("b", {3}, 1, elsewhere(location, offset, length))});
    put(folder / "models/model.onnx", bytes);
    try {
      onnx::read_graph(folder / "models/model.onnx", {.allow_outside = allow_outside});
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::usage);
      return error.what();
    }
  }
  TemporaryFolder folder;
};

TEST_F(External, IsReadFromBesideTheModel) {
  EXPECT_EQ(read("data.bin"), "");
  EXPECT_EQ(read("./data.bin", "52"), "");
  EXPECT_EQ(read("data.bin", "52", ""), "");
}

TEST_F(External, NamesThatLeadOut) {  // CVE-2022-25882, CVE-2024-27318
  for (const std::string& name :
       {std::string("../secret.bin"), std::string("a/../../secret.bin"), std::string(".."),
        (folder / "secret.bin").string(), std::string("/etc/passwd"), std::string(),
        std::string("data.bin\0x", 10)}) {
    EXPECT_SAYS(read(name), "leads out of the model's folder") << name;
    EXPECT_SAYS(read(name), "--allow-outside");
  }
  EXPECT_EQ(read("../secret.bin", "", "12", true), "");
}

TEST_F(External, Links) {  // CVE-2026-27489, -34446, -34447
  fs::create_symlink("../secret.bin", folder / "models/link.bin");
  fs::create_directory_symlink("..", folder / "models/up");
  fs::create_hard_link(folder / "secret.bin", folder / "models/hard.bin");
  fs::create_symlink("data.bin", folder / "models/within.bin");  // today; tomorrow elsewhere
  for (const char* name : {"link.bin", "up/secret.bin", "within.bin"}) {
    EXPECT_SAYS(read(name), "a link") << name;
    EXPECT_SAYS(read(name), "--allow-outside") << name;
    EXPECT_EQ(read(name, "", "12", true), "") << name;
  }
  EXPECT_SAYS(read("hard.bin"), "hard link");
  EXPECT_EQ(read("hard.bin", "", "12", true), "");
}

TEST_F(External, NoFileOrTooShort) {
  EXPECT_SAYS(read("none.bin"), "cannot be opened");
  fs::create_directory(folder / "models/folder");
  EXPECT_SAYS(read("folder"), "is no file");
  ASSERT_EQ(::mkfifo((folder / "models/pipe").c_str(), 0600), 0);
  EXPECT_SAYS(read("pipe"), "is no file");  // and nobody waits
  EXPECT_SAYS(read("data.bin", "60"), "which has 64 bytes");
  EXPECT_SAYS(read("data.bin", "0", "16"), "needs 12");
  EXPECT_SAYS(read("data.bin", "0", "8"), "needs 12");
  EXPECT_SAYS(read("data.bin", "-4"), "no number of bytes");
  EXPECT_SAYS(read("data.bin", "18446744073709551612"), "no number of bytes");
  EXPECT_SAYS(read("data.bin", "999999999999999999"), "which has 64 bytes");
}

// --- tensors
TEST(OnnxFiles, TensorsThatAreNotWhatTheySay) {
  SKIP_WITHOUT_ONNX();
  const auto with = [](const std::string& t) {
    return says(model_of(node("Add", {"x", "b"}, {"y"}), {t}));
  };
  EXPECT_SAYS(with(tensor("b", {4}, 1, raw<float>({1, 2, 3}))), "12 bytes, but shape {4} needs 16");
  EXPECT_SAYS(with(tensor("b", {2}, 1, raw<float>({1, 2, 3}))), "12 bytes, but shape {2} needs 8");
  EXPECT_SAYS(with(tensor("b", {1000000, 1000000}, 1, "")), "has 0 numbers");
  EXPECT_SAYS(with(tensor("b", {1 << 30, 1 << 30, 1 << 30}, 1, "")), "impossible shape");
  EXPECT_SAYS(with(tensor("b", {-3}, 1, "")), "impossible shape");
  EXPECT_SAYS(with(tensor("b", std::vector<std::int64_t>(9, 1), 1, "")), "impossible shape");
  EXPECT_SAYS(with(tensor("b", std::vector<std::int64_t>(8, 1), 1, "")), "8 axes; at most 6");
  EXPECT_SAYS(with(tensor("b", {3}, 3, raw<std::int8_t>({1, 2, 3}))), "int8");
  EXPECT_SAYS(with(tensor("b", {3}, 3, raw<std::int8_t>({1, 2, 3}))), "quantised");
  EXPECT_SAYS(with(tensor("b", {3}, 8, "")), "string");
  EXPECT_SAYS(with(tensor("b", {3}, 99, "")), "type number 99");
}

TEST(OnnxFiles, EveryTypeOfInitialiser) {
  SKIP_WITHOUT_ONNX();
  const auto sum = [](const std::string& t, int to = 1) {
    const std::string bytes = model(
        {{node("Cast", {"b"}, {"c"}, attribute_whole("to", to)), node("Add", {"x", "c"}, {"y"})},
         {t},
         {port("x", {2, 3})},
         {port("y", {})}});
    double all = 0;
    const Tensor y = run_bytes(bytes, two_by_three())[0].tensor;
    for (std::int64_t i = 0; i < 3; ++i) all += y.item(i);
    return all;
  };
  EXPECT_EQ(sum(tensor("b", {3}, 1, raw<float>({1, 2, 3.5f}))), 6.5);
  EXPECT_EQ(sum(tensor("b", {3}, 11, raw<double>({1, 2, 3.5}))), 6.5);
  EXPECT_EQ(sum(tensor("b", {3}, 10, raw<std::uint16_t>({0x3c00, 0xc000, 0x0001}))),
            static_cast<double>(-1 + 0x1p-24f));
  EXPECT_EQ(sum(tensor("b", {3}, 16, raw<std::uint16_t>({0x3f80, 0x4000, 0x4060}))), 6.5);
  EXPECT_EQ(sum(tensor("b", {3}, 7, raw<std::int64_t>({1, -2, 3}))), 2);
  EXPECT_EQ(sum(tensor("b", {3}, 6, raw<std::int32_t>({1, -2, 3}))), 2);
  EXPECT_EQ(sum(tensor("b", {3}, 2, raw<std::uint8_t>({1, 200, 3}))), 204);
  EXPECT_EQ(sum(tensor("b", {3}, 9, raw<std::uint8_t>({1, 0, 1}))), 2);
  EXPECT_EQ(sum(tensor("b", {3}, 7, text(7, varint(1) + varint(2) + varint(3)))), 6);  // packed
  EXPECT_EQ(sum(tensor("b", {3}, 7, whole(7, 1) + whole(7, 2) + whole(7, 3))), 6);     // or not
}

// --- the graph
TEST(OnnxFiles, GraphsThatAreNone) {
  SKIP_WITHOUT_ONNX();
  const auto of = [](const std::vector<std::string>& nodes) {
    return says(model({nodes, {}, {port("x", {2, 3})}, {port("y", {})}}));
  };
  EXPECT_SAYS(of({node("Relu", {"x"}, {"y"}), node("Neg", {"x"}, {"y"})}), "gives already");
  EXPECT_SAYS(of({node("Relu", {"x"}, {"x"})}), "gives already");
  EXPECT_SAYS(of({node("Add", {"x", "b"}, {"a"}), node("Relu", {"a"}, {"b"})}), "in a circle");
  EXPECT_SAYS(of({node("Relu", {"y"}, {"y"})}), "in a circle");
  EXPECT_SAYS(of({node("Add", {"x", "nowhere"}, {"y"})}), "no initialiser holds");
  EXPECT_SAYS(of({node("Relu", {"x"}, {"z"})}), "nothing gives the output 'y'");
  EXPECT_SAYS(of({node("Relu", {}, {"y"})}), "operand 0 is missing");
  EXPECT_SAYS(
      says(model_of(node("Add", {"x", "b"}, {"y"}), {reals("b", {1}, {1}), reals("b", {1}, {2})})),
      "is there twice");
}

TEST(OnnxFiles, WhatIsRefusedIsNamed) {
  SKIP_WITHOUT_ONNX();
  const std::string loop = says(model_of(node("Loop", {"x"}, {"y"}, "", "/body/Loop_3")));
  for (const char* part :
       {"'/body/Loop_3'", "(Loop,", "operator set 17", "control flow", "--outputs"}) {
    EXPECT_SAYS(loop, part);
  }
  EXPECT_SAYS(says(model_of(node("QLinearConv", {"x"}, {"y"}))), "int8");
  EXPECT_SAYS(says(model_of(node("NonMaxSuppression", {"x"}, {"y"}))), "nms=False");
  EXPECT_SAYS(says(model_of(node("Unheard", {"x"}, {"y"}))), "this op is not read");
  EXPECT_SAYS(says(model_of(node("FusedConv", {"x"}, {"y"}, text(7, "com.microsoft")))),
              "com.microsoft");
  EXPECT_SAYS(says(model_of(node("Relu", {"x"}, {"y"}), {}, 27)), "operator set 27");
  EXPECT_SAYS(says(model_of(node("Relu", {"x"}, {"y"}), {}, 27)), "7 to 26");
  EXPECT_SAYS(says(model_of(node("Relu", {"x"}, {"y"}), {}, 6)), "operator set 6");
  const std::string with_function = model({{node("Twice", {"x"}, {"y"}, text(7, "mine"))},
                                           {},
                                           {port("x", {2, 3})},
                                           {port("y", {})},
                                           17,
                                           text(25, text(1, "Twice") + text(10, "mine"))});
  EXPECT_SAYS(says(with_function), "inline_local_functions");
}

TEST(OnnxFiles, WhatNobodyNeedsIsNotRefused) {
  SKIP_WITHOUT_ONNX();
  const std::string bytes =
      model({{node("NonMaxSuppression", {"x"}, {"boxes"}), node("Relu", {"x"}, {"y"})},
             {},
             {port("x", {2, 3})},
             {port("y", {})}});
  EXPECT_EQ(run_bytes(bytes, two_by_three()).size(), 1u);
}

// Sizes and axes that an attribute or a shape says.
TEST(OnnxFiles, NumbersOfNodes) {
  SKIP_WITHOUT_ONNX();
  const std::int64_t huge = std::int64_t{1} << 40;
  const auto of = [](const std::string& n, const std::vector<std::string>& more = {}) {
    return says(model_of(n, more));
  };
  const std::string weights = reals("w", {1, 1, 3, 3}, std::vector<float>(9, 1));
  const auto conv = [&](const std::string& attributes) {
    return usage_message([&] {
      const std::string bytes = model({{node("Conv", {"x", "w"}, {"y"}, attributes)},
                                       {weights},
                                       {port("x", {1, 1, 8, 8})},
                                       {port("y", {})}});
      run_bytes(bytes, Tensor::zeros({DType::f32, {1, 1, 8, 8}}));
    });
  };
  EXPECT_SAYS(conv(attribute_wholes("dilations", {2})), "must have 2");  // onnx #8036
  EXPECT_SAYS(conv(attribute_wholes("pads", {1, 1})), "must have 4");
  EXPECT_SAYS(conv(attribute_wholes("strides", {0, 1})), "a stride of 0");
  EXPECT_SAYS(conv(attribute_wholes("pads", {-1, 0, 0, 0})), "a padding of -1");
  EXPECT_SAYS(conv(attribute_wholes("pads", {huge, 0, 0, 0})), "a padding of");
  EXPECT_SAYS(conv(attribute_text("strides", "2")), "another type");
  EXPECT_SAYS(conv(attribute_whole("group", 0)), "0 groups");
  EXPECT_SAYS(of(node("Softmax", {"x"}, {"y"}, attribute_whole("axis", 7))), "no axis 7");
  EXPECT_SAYS(of(node("Transpose", {"x"}, {"y"}, attribute_wholes("perm", {0, 0}))), "twice");
  EXPECT_SAYS(of(node("ConstantOfShape", {"s"}, {"y"}), {wholes("s", {huge, huge})}),
              "too many elements");  // onnxruntime #28730
  EXPECT_SAYS(of(node("ConstantOfShape", {"s"}, {"y"}), {wholes("s", {huge})}), "256 MiB");
  EXPECT_SAYS(of(node("Expand", {"x", "s"}, {"y"}), {wholes("s", {huge, 1, 1})}), "256 MiB");
  EXPECT_SAYS(of(node("Tile", {"x", "s"}, {"y"}), {wholes("s", {huge, 1})}), "repeats");
  EXPECT_SAYS(of(node("Reshape", {"x", "s"}, {"y"}), {wholes("s", {huge, huge})}), "too large");
  EXPECT_SAYS(of(node("Reshape", {"x", "s"}, {"y"}), {wholes("s", {0, 0, 0})}), "none to keep");
  EXPECT_SAYS(of(node("Pad", {"x", "s"}, {"y"}), {wholes("s", {0, huge, 0, 0})}), "a margin");
  EXPECT_SAYS(of(node("Unsqueeze", {"x", "s"}, {"y"}), {wholes("s", {0, 1, 2, 3, 4})}), "7 axes");
  EXPECT_SAYS(of(node("Gather", {"x", "s"}, {"y"}), {wholes("s", {2})}), "no element 2");
  EXPECT_SAYS(
      of(node("Slice", {"x", "s", "s", "s", "z"}, {"y"}), {wholes("s", {0}), wholes("z", {0})}),
      "a step of 0");
  EXPECT_SAYS(of(node("Resize", {"x", "", "r"}, {"y"}), {reals("r", {2}, {1e9f, 1e9f})}),
              "a scale");
  EXPECT_SAYS(of(node("Clip", {"x", "x"}, {"y"})), "must be one number");
}

// The parser is given the model without the raw numbers of large initialisers.
TEST(OnnxFiles, ManyNumbersAreThoseOfTheFile) {
  SKIP_WITHOUT_ONNX();
  std::vector<float> many(3000), others(3000);
  std::vector<std::int64_t> many_wholes(1000);
  for (std::size_t i = 0; i < many.size(); ++i) {
    many[i] = 0.5f * static_cast<float>(i);
    others[i] = -many[i];
    if (i < many_wholes.size()) many_wholes[i] = static_cast<std::int64_t>(i * i);
  }
  const std::vector<float> few = {1, 2, 3};
  const auto in_two_parts = [](const std::string& initialisers) {
    const std::string end = text(1, node("Relu", {"x"}, {"y"})) + text(11, port("x", {2, 3})) +
                            text(12, port("y", {})) + text(5, reals("last", {1}, {7}));
    return whole(1, 8) + text(7, initialisers) + text(7, end) + text(8, whole(2, 17));
  };
  const std::string bytes = in_two_parts(
      text(5, reals("few", {3}, few)) + text(5, reals("many", {60, 50}, many)) +
      text(5, wholes("wholes", many_wholes)) +
      text(5, tensor("again", {3000}, 1, raw(few) + raw(others))) +  // the last one holds
      text(5, tensor("lastly", {3}, 1, raw(many) + raw(few))));
  const auto check = [&](const onnx::Graph& graph) {
    const auto reals_of = [&](const char* name) {
      const auto values = graph.initialisers.at(name)->numbers.values<float>();
      return std::vector<float>(values.begin(), values.end());
    };
    EXPECT_EQ(reals_of("few"), few);
    EXPECT_EQ(reals_of("many"), many);
    EXPECT_EQ(reals_of("again"), others);
    EXPECT_EQ(reals_of("lastly"), few);
    EXPECT_EQ(reals_of("last"), std::vector<float>{7});
    const auto numbers = graph.initialisers.at("wholes")->numbers.values<std::int64_t>();
    EXPECT_TRUE(std::equal(numbers.begin(), numbers.end(), many_wholes.begin()));
  };
  check(onnx::parse_graph(bytes, "model.onnx"));
  const onnx::Graph kept = onnx::parse_graph(bytes, "model.onnx", {.keep = true});
  check(kept);
  check(onnx::parse_graph(onnx::written(kept, [](const std::string&) { return false; }), "m.onnx"));
  const auto with = [&](const std::string& rest) {
    return in_two_parts(text(5, tensor("w", {3000}, 1, rest)));
  };
  EXPECT_NO_THROW(onnx::parse_graph(with(raw(many)), "model.onnx"));
  const auto broken = [&](const std::string& rest) {
    return usage_message([&] { onnx::parse_graph(with(rest), "model.onnx"); });
  };
  EXPECT_SAYS(broken(raw(many_wholes)), "'w' has 8000 bytes, but shape {3000} needs 12000");
  EXPECT_SAYS(broken(raw(many) + raw(few)), "'w' has 12 bytes, but shape {3000} needs 12000");
}

TEST(OnnxFiles, LargeGraphsTakeBoundedMemory) {
  SKIP_WITHOUT_ONNX();
  const std::int64_t before = peak_mib();
  {  // a million nodes and one
    std::string graph;
    const std::string one = text(1, "");
    for (int i = 0; i <= 1'000'000; ++i) graph += one;
    EXPECT_SAYS(says(whole(1, 8) + text(7, graph)), "more than 1000000 nodes");
  }
  {  // a graph in an attribute of a node of a graph ...
    std::string graph;
    for (int i = 0; i < 200; ++i) graph = text(1, text(5, text(6, graph)));
    EXPECT_SAYS(says(whole(1, 8) + text(7, graph)), "more than 32 deep");
  }
  {  // strings of no length
    std::string graph;
    for (int i = 0; i < 7'000'000; ++i) graph += std::string("\x0a\0", 2);
    EXPECT_SAYS(says(whole(1, 8) + text(7, text(1, graph))), "parts");
  }
  {  // a byte each, eight once they are numbers
    const std::string numbers(70'000'000, '\1');
    EXPECT_SAYS(says(model_of(node("Add", {"x", "b"}, {"y"}),
                              {tensor("b", {70'000'000}, 7, text(7, numbers))})),
                "written one by one");
  }
  {  // constants that repeat constants
    Parts parts{{node("ConstantOfShape", {"s"}, {"c0"})},
                {wholes("s", {30'000'000})},
                {port("x", {2, 3})},
                {port("c9", {})}};
    for (int i = 0; i < 9; ++i) {
      parts.nodes.push_back(node("Neg", {fmt::format("c{}", i)}, {fmt::format("c{}", i + 1)}));
    }
    EXPECT_SAYS(says(model(parts)), "256 MiB");
  }
  EXPECT_LE(peak_mib() - before, 900);
}

TEST(OnnxFiles, EveryPrefixAndManyMutationsEndWell) {
  SKIP_WITHOUT_ONNX();
  const std::string good =
      model({{node("Conv", {"x", "w"}, {"c"}, attribute_wholes("pads", {1, 1, 1, 1})),
              node("Reshape", {"c", "s"}, {"r"}), node("Softmax", {"r"}, {"y"})},
             {reals("w", {2, 1, 3, 3}, std::vector<float>(18, 1)), wholes("s", {1, -1})},
             {port("x", {1, 1, 4, 4})},
             {port("y", {})}});
  const Tensor x = Tensor::zeros({DType::f32, {1, 1, 4, 4}});
  ASSERT_EQ(run_bytes(good, x).size(), 1u);
  const auto try_it = [&](const std::string& bytes) {
    try {
      run_bytes(bytes, x);
    } catch (const Error&) {
    }
  };
  for (std::size_t end = 0; end < good.size(); ++end) try_it(good.substr(0, end));
  std::mt19937 random(1);
  for (int i = 0; i < 4000; ++i) {
    std::string bytes = good;
    for (unsigned k = 0; k < 1 + random() % 3; ++k) {
      bytes[random() % bytes.size()] =
          static_cast<char>(random() % 4 == 0 ? random() : random() % 24);
    }
    try_it(bytes);
  }
}

// --- pictures
TEST(OnnxFiles, GraphsThatTakeNoPicture) {
  SKIP_WITHOUT_ONNX();
  const auto of = [](const std::vector<std::string>& inputs) {
    return usage_message([&] {
      onnx::picture_input(onnx::parse_graph(
          model({{node("Relu", {"x"}, {"y"})}, {}, inputs, {port("y", {})}}), "model.onnx"));
    });
  };
  EXPECT_SAYS(of({port("x", {1, 3, 8, 8}), port("z", {1})}), "2 inputs");
  EXPECT_SAYS(of({port("x", {1, 3, 8})}), "no picture");
  EXPECT_SAYS(of({port("x", {1, 3, 8, 8}, 7)}), "no picture");
  const auto input = onnx::picture_input(onnx::parse_graph(
      model({{node("Relu", {"x"}, {"y"})}, {}, {port("x", {-1, 3, -1, -1})}, {port("y", {})}}),
      "model.onnx"));
  EXPECT_EQ(input.channels, 3);
  EXPECT_EQ(input.height, 0);  // not said: asked for by whoever opens it
}

}  // namespace
}  // namespace tapescope
