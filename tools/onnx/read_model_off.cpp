// In the place of read_model.cpp where protobuf is not there.
#include "tools/files/text_file.h"
#include "tools/onnx/graph.h"

namespace tapescope::onnx {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path) {
  throw usage_error(
      "'{}' is an ONNX file, which this build does not read: install libprotobuf-dev and "
      "protobuf-compiler and build with -DTAPESCOPE_ONNX=ON",
      shown(path.string()));
}

}  // namespace

Graph read_graph(const std::filesystem::path& path, const ReadOptions&) { refuse(path); }
Graph parse_graph(std::string_view, const std::filesystem::path& path, const ReadOptions&) {
  refuse(path);
}
std::string written(const Graph& graph, const std::function<bool(const std::string&)>&) {
  refuse(graph.path);
}
std::string protobuf_version() { return ""; }
KnownRef read_tensor(const std::filesystem::path& path) { refuse(path); }

}  // namespace tapescope::onnx
