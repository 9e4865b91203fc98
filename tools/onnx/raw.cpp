#include "tools/onnx/raw.h"

#include <algorithm>

#include "tools/files/folders.h"
#include "tools/files/input_files.h"
#include "tools/onnx/net.h"
#include "tools/report/npy.h"

namespace tapescope::onnx {
namespace {

namespace fs = std::filesystem;

std::string file_name(const std::string& value, std::size_t index,
                      const std::vector<RawAnswer>& before) {
  std::string name;
  for (const char c : value.substr(0, 200)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || (c == '.' && !name.empty());
    name += plain ? c : '_';
  }
  if (name.empty()) name = "output";
  const auto taken = [&](const RawAnswer& a) { return a.file == name + ".npy"; };
  if (std::any_of(before.begin(), before.end(), taken)) name += fmt::format("-{}", index);
  return name + ".npy";
}

}  // namespace

std::vector<RawAnswer> run_raw(const RawRequest& request, const Backend& backend) {
  Graph graph = read_graph(request.model, {.allow_outside = request.allow_outside});
  cut(graph, request.outputs);
  InputFiles files;
  files.add(request.model);
  std::vector<Tensor> inputs;
  for (const std::string& input : request.inputs) {
    files.add(input);
    inputs.push_back(read_npy(input));
  }
  const std::vector<Output> outputs = run(graph, inputs, backend);
  make_output_folder(request.out);
  std::vector<RawAnswer> answers;
  for (const Output& output : outputs) {
    answers.push_back({output.name, file_name(output.name, answers.size(), answers),
                       to_string(output.tensor.type())});
  }
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const fs::path path = fs::path(request.out) / answers[i].file;
    files.expect_apart("--out", path);
    write_npy(path, outputs[i].tensor);
    answers[i].file = path.string();
  }
  return answers;
}

}  // namespace tapescope::onnx
