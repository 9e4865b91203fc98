#include "tools/tasks/run.h"

#include "tools/onnx/graph.h"
#include "tools/tasks/kit.h"
#include "tools/tasks/other_explanations.h"
#include "tools/training/checkpoint.h"

namespace tapescope::tasks {

OtherAnswer Run::explain_otherwise(const OtherCommand&) const {
  throw usage_error("'{}' is a {} run; this explanation is of a classifier's answers", asked().run,
                    kit().name());
}

inspection::Record record_of(const Model& model) {
  return [&model](Tape&, Var image) {
    std::vector<Var> outputs;
    for (const auto& [name, output] : model({{"image", image}})) outputs.push_back(output);
    return outputs;
  };
}

std::vector<ParameterRef> initial_parameters(const Run& run) {
  if (onnx::names_onnx(run.asked().run)) {
    throw usage_error(
        "'{}' is an ONNX file, which does not hold the values that its training began "
        "with",
        run.asked().run);
  }
  SafetensorsFile file(checkpoint_path(run.asked().run, "initial"));
  expect_known_format(file);
  return stored_parameters(run.model().parameters(), file);
}

Tensor inputs_of(const SampleSource& samples, std::span<const std::int64_t> indices) {
  std::vector<Tensor> tensors;
  std::size_t image = 0;
  for (const auto& [name, type] : samples.types()) {
    if (name == "image") image = tensors.size();
    tensors.emplace_back(
        Type{type.dtype, type.shape.with_leading(static_cast<std::int64_t>(indices.size()))});
  }
  for (std::size_t n = 0; n < indices.size(); ++n) {
    std::vector<Tensor> rows;
    std::vector<void*> pointers;
    for (const Tensor& tensor : tensors) {
      const auto row = static_cast<std::int64_t>(n);
      rows.push_back(tensor.rows(row, row + 1));
      pointers.push_back(rows.back().data());
    }
    samples.load(indices[n], {}, pointers);
  }
  return tensors[image];
}

InputFiles files_of(const RunRequest& run) {
  InputFiles inputs;
  for (const char* name :
       {"checkpoints", "config.toml", "history.jsonl", "metrics.json", "model.onnx", "split.tsv"}) {
    inputs.add(std::filesystem::path(run.run) / name);
  }
  inputs.add(run.checkpoint);
  if (onnx::names_onnx(run.run)) {
    inputs.add(run.run);
    inputs.add(run.onnx.class_names);
  }
  return inputs;
}

std::vector<std::string> with_share(std::vector<std::string> notices, std::int64_t looked_at,
                                    std::int64_t all, const std::string& split) {
  if (looked_at < all) {
    notices.push_back(fmt::format("{} of {} images of {} were looked at, evenly over the set",
                                  looked_at, all, split));
  }
  return notices;
}

}  // namespace tapescope::tasks
