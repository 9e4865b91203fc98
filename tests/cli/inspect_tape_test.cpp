// `tapescope inspect tape` on small nets.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"

namespace tapescope {
namespace {

using nlohmann::json;

Result tape_of(std::vector<std::string> more) {
  std::vector<std::string> arguments = {"inspect", "tape", "--model", "lenet", "--classes", "10"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return tapescope_program(arguments);
}

std::int64_t lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(InspectTape, ListsTheNodes) {
  const Result result = tape_of({});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_TRUE(result.out.starts_with("%0 ")) << result.out;
  for (const char* path : {"conv1/conv2d ", "conv1.weight ", "fc2/matmul "}) {
    EXPECT_NE(result.out.find(path), std::string::npos) << path << " in\n" << result.out;
  }
  EXPECT_EQ(result.out.find("gradient/"), std::string::npos);
  EXPECT_EQ(result.out.find(" of %"), std::string::npos);
  const json object = json::parse(tape_of({"--json"}).out);
  EXPECT_EQ(object["model"], "lenet");
  EXPECT_EQ(static_cast<std::int64_t>(object["nodes"].size()), lines(result.out));
}

TEST(InspectTape, TellsForWhichNodeEachWasAppended) {
  for (const std::vector<std::string>& what :
       std::vector<std::vector<std::string>>{{"--gradient"}, {"--relevance", "lrp-epsilon-plus"}}) {
    const std::string prefix = what.size() == 1 ? "gradient/" : "relevance/";
    std::vector<std::string> arguments = what;
    arguments.push_back("--json");
    const Result result = tape_of(arguments);
    ASSERT_EQ(result.status, 0) << result.err;
    int appended = 0;
    const json nodes = json::parse(result.out)["nodes"];
    for (const json& node : nodes) {
      const std::string path = node["path"];
      EXPECT_EQ(path.find("//"), std::string::npos) << path;
      if (node["op"] == "constant") continue;  // of no scope: equal ones are one
      EXPECT_EQ(path.starts_with(prefix), !node["origin"].is_null()) << path;
      if (node["origin"].is_null()) continue;
      ++appended;
      EXPECT_LT(node["origin"], node["node"]);
      const std::string of = nodes[node["origin"].get<std::size_t>()]["path"];
      if (of.find('/') == std::string::npos) continue;
      EXPECT_EQ(path.substr(prefix.size()).substr(0, of.find('/')), of.substr(0, of.find('/')));
    }
    EXPECT_GT(appended, 10);
    EXPECT_NE(tape_of(what).out.find(" of %"), std::string::npos);
  }
}

TEST(InspectTape, PrintsTheProgram) {
  const Result text = tape_of({"--gradient", "--program"});
  ASSERT_EQ(text.status, 0) << text.err;
  for (const char* part : {"conv1/conv2d", "gradient/conv1/conv2d_data_gradient", "in place",
                           "memory, bytes:", "parameters"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part;
  }
  const json object = json::parse(tape_of({"--gradient", "--program", "--json"}).out);
  const json& program = object["program"];
  ASSERT_FALSE(program["steps"].empty());
  for (const json& step : program["steps"]) {
    EXPECT_EQ(object["nodes"][step["node"].get<std::size_t>()]["path"], step["path"]);
    EXPECT_NE(step["kernel"], "");
  }
  EXPECT_GE(program["memory_bytes"]["arena"], program["memory_bytes"]["lower_bound"]);
}

TEST(InspectTape, DrawsIt) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder / "tape.dot";
  ASSERT_EQ(tape_of({"--graph", file.string()}).status, 0);
  EXPECT_TRUE(text_of(file).starts_with("digraph"));
}

TEST(InspectTape, OfADetector) {
  const Result result = tapescope_program({"inspect", "tape", "--model", "centre-detector",
                                           "--image-size", "64", "--width", "0.25", "--gradient"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find(" of %"), std::string::npos);
}

TEST(InspectTape, RefusesWhatItDoesNotKnow) {
  const Result unknown = tape_of({"--relevance", "lrp-nothing"});
  EXPECT_EQ(unknown.status, 2);
  EXPECT_NE(unknown.err.find("lrp-epsilon-plus"), std::string::npos) << unknown.err;
  EXPECT_NE(tape_of({"--relevance", "lrp-epsilon", "--gradient"}).status, 0);
}

}  // namespace
}  // namespace tapescope
