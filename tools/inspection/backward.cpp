#include "tools/inspection/backward.h"

#include <map>
#include <unordered_map>
#include <unordered_set>

#include "autograd/leaf.h"
#include "autograd/walk.h"

namespace tapescope::inspection {
namespace {

// Batch norm has two ops of one layer; everything else has the same path on both tapes.
std::string common_name(std::string path) {
  for (const std::string_view suffix : {"_training", "_inference"}) {
    if (const std::size_t at = path.rfind(suffix); at != std::string::npos) {
      path.erase(at, suffix.size());
    }
  }
  return path;
}

Var without_aliases(Var value) {
  for (int alias; (alias = value.node->op->alias()) >= 0;) {
    value = value.node->operands()[static_cast<std::size_t>(alias)];
  }
  return value;
}

// Seconds a step, averaged over options.repeats runs after one that is not counted.
std::vector<double> profile(Program& program, std::span<const NamedTensor> inputs, int repeats) {
  program.run(inputs);
  std::vector<double> seconds;
  program.set_profile(&seconds);
  for (int i = 0; i < repeats; ++i) program.run(inputs);
  program.set_profile(nullptr);
  for (double& value : seconds) value /= repeats;
  return seconds;
}

Tensor pattern(const Shape& shape) {
  Tensor tensor(Type{DType::f32, shape});
  float value = 0;
  for (float& element : tensor.values<float>()) {
    element = value - 0.5f;
    value = value > 0.9f ? 0.05f : value + 0.1f;
  }
  return tensor;
}

}  // namespace

void add_backward(Structure& structure, const Record& record, const Shape& image,
                  const StructureOptions& options) {
  Tape tape(options.backend.device, Mode::training, {0, options.backend.choices});
  const Var input = tape.input("image", DType::f32, image.with_leading(1));
  const std::vector<Var> outputs = record(tape, input);
  const std::uint32_t forward_end = tape.mark();
  std::vector<Var> wrt;
  for (const Node* node : tape.nodes()) {
    const auto* leaf = dynamic_cast<const ParameterOp*>(node->op.get());
    if (leaf != nullptr && leaf->parameter->trained()) wrt.push_back(node->out());
  }
  if (wrt.empty()) return;

  std::map<std::string, std::size_t> row_of_name;
  for (std::size_t i = 0; i < structure.rows.size(); ++i) {
    row_of_name[common_name(structure.rows[i].path)] = i;
  }
  // The row that each node of this tape belongs to, gradients to that of the node they are of.
  std::unordered_map<std::uint32_t, std::size_t> owner;
  std::size_t current = 0;
  for (std::uint32_t i = 0; i < forward_end; ++i) {
    const Node* node = tape.nodes()[i];
    if (node->op->is_leaf()) continue;
    if (const auto it = row_of_name.find(common_name(node->path())); it != row_of_name.end()) {
      current = it->second;
    }
    owner[i] = current;
  }
  std::vector<Seed> seeds;
  std::vector<std::string> seed_names;
  for (const Var& output : outputs) {
    seed_names.push_back(fmt::format("seed {}", seeds.size()));
    seeds.push_back({output, tape.input(seed_names.back(), output.dtype(), output.shape())});
  }
  const std::vector<Var> gradients = walk(tape, seeds, wrt,
                                          [&](const Node& node, std::span<const Var> cotangents,
                                              unsigned wanted, std::span<Var> results) {
                                            const Tape::Scope in = tape.scope_of("gradient", node);
                                            const std::uint32_t begin = tape.mark();
                                            Vjp v(node, cotangents, wanted, results);
                                            node.op->vjp(v);
                                            for (std::uint32_t i = begin; i < tape.mark(); ++i)
                                              owner[i] = owner[node.index];
                                          });
  std::vector<Var> reached;
  for (const Var& gradient : gradients) {
    if (gradient) reached.push_back(gradient);
  }
  const std::vector<bool> needed = needed_by(tape, reached);

  std::unordered_set<std::uint64_t> saved;
  for (std::uint32_t i = forward_end; i < tape.mark(); ++i) {
    const Node* node = tape.nodes()[i];
    if (!needed[i]) continue;
    for (int k = 0; k < node->operand_count; ++k) {
      if (node->op->role(k) == Role::shape) continue;
      const Var value = without_aliases(node->operand_data[k]);
      const bool forward = value.node->index < forward_end;
      const bool made = !value.node->op->is_leaf() || value.node == input.node;
      if (!forward || !made) continue;
      const std::uint64_t key =
          std::uint64_t{value.node->index} << 8 | static_cast<std::uint64_t>(value.output);
      if (!saved.insert(key).second) continue;
      const auto bytes = static_cast<std::int64_t>(value.type().bytes());
      // The input is made by nobody: the first row keeps it.
      structure.rows[value.node == input.node ? 0 : owner[value.node->index]].saved_bytes += bytes;
    }
  }
  if (options.measure_batch == 0) return;

  Program program = tape.compile(reached);
  const Tensor images = pattern(image.with_leading(options.measure_batch));
  std::vector<NamedTensor> inputs = {{"image", images}, {"step", Tensor::scalar_i64(0)}};
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    inputs.push_back({seed_names[i], pattern(outputs[i].shape().without_leading().with_leading(
                                         options.measure_batch))});
  }
  const std::vector<double> seconds = profile(program, inputs, options.repeats);
  std::map<std::string, std::uint32_t> node_of_path;
  for (const Node* node : tape.nodes()) node_of_path[node->path()] = node->index;
  const std::vector<StepInfo> steps = program.steps(options.measure_batch);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto node = node_of_path.find(steps[i].path);
    if (node == node_of_path.end() || node->second < forward_end) continue;
    if (const auto it = owner.find(node->second); it != owner.end()) {
      structure.rows[it->second].backward_seconds += seconds[i];
    }
  }
}

void measure_forward(Structure& structure, Tape& tape, std::span<const Var> outputs,
                     const Shape& image, const StructureOptions& options) {
  Program program = tape.compile(outputs);
  const Tensor images = pattern(image.with_leading(options.measure_batch));
  const NamedTensor inputs[] = {{"image", images}};
  const std::vector<double> seconds = profile(program, inputs, options.repeats);
  const std::vector<StepInfo> steps = program.steps(options.measure_batch);
  std::map<std::string, std::size_t> row_of_path;
  for (std::size_t i = 0; i < structure.rows.size(); ++i) row_of_path[structure.rows[i].path] = i;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto it = row_of_path.find(steps[i].path);
    if (it == row_of_path.end()) continue;
    structure.rows[it->second].forward_seconds += seconds[i];
    structure.rows[it->second].variant = steps[i].variant;
  }
  structure.measured_batch = options.measure_batch;
}

}  // namespace tapescope::inspection
