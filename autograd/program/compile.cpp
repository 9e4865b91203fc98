// What a Tape has of Programs: compile and replay.
#include "autograd/program/program.h"
#include "autograd/tape.h"

namespace tapescope {

Program Tape::compile(std::span<const Var> outputs, const Effects& effects) {
  return Program(*this, outputs, effects, {});
}
Program Tape::compile(std::span<const Var> outputs, const Effects& effects,
                      const CompileOptions& options) {
  return Program(*this, outputs, effects, options);
}
Program Tape::compile(std::initializer_list<Var> outputs, const Effects& effects) {
  return Program(*this, std::span<const Var>(outputs.begin(), outputs.size()), effects, {});
}

std::vector<Tensor> Tape::replay(std::span<const Edit> edits, std::span<const Var> outputs) {
  check_current();
  std::string key;
  CompileOptions options;
  options.reuse_values = true;
  std::vector<NamedTensor> inputs;
  std::vector<std::string> names;
  for (const Edit& edit : edits) {
    options.cuts.push_back(edit.var);
    names.push_back(edit.var.path());
    key += fmt::format("{}.{} ", edit.var.node->index, edit.var.output);
  }
  for (std::size_t i = 0; i < edits.size(); ++i) inputs.push_back({names[i], edits[i].value});
  key += "->";
  for (const Var& output : outputs) key += fmt::format(" {}.{}", output.node->index, output.output);
  std::shared_ptr<Program>& program = replays_[key];
  if (!program) program = std::make_shared<Program>(*this, outputs, Effects{}, options);
  return program->run(inputs);
}

}  // namespace tapescope
