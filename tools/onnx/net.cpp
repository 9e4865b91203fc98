#include "tools/onnx/net.h"

#include <algorithm>
#include <cmath>

#include "autograd/program/program.h"
#include "tools/files/near_names.h"
#include "tools/files/text_file.h"
#include "tools/onnx/patterns.h"
#include "tools/onnx/recorder.h"

namespace tapescope::onnx {

void cut(Graph& graph, const std::vector<std::string>& outputs) {
  std::vector<std::string> known;
  for (const Node& node : graph.nodes) {
    known.insert(known.end(), node.outputs.begin(), node.outputs.end());
  }
  std::vector<Port> ports;
  for (const std::string& name : outputs) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw usage_error("--outputs: no node of '{}' gives a value '{}'{}",
                        shown(graph.path.string()), shown(name), did_you_mean(name, known));
    }
    Port port;
    port.name = name;
    port.type = Element::f32;
    ports.push_back(std::move(port));
  }
  if (!ports.empty()) graph.outputs = std::move(ports);
}

namespace {

[[noreturn]] void wrong_input(const Port& port, const std::string& why) {
  throw usage_error("the input '{}' {}", shown(port.name), why);
}

void check_extents(const Port& port, const Shape& shape) {
  if (!port.ranked) return;
  bool fits = static_cast<int>(port.extents.size()) == shape.rank();
  std::string expected;
  for (std::size_t a = 0; a < port.extents.size(); ++a) {
    const std::int64_t extent = port.extents[a];
    fits = fits && (extent < 0 || extent == shape[static_cast<int>(a)]);
    expected +=
        fmt::format("{}{}", a == 0 ? "" : ", ", extent < 0 ? "any" : std::to_string(extent));
  }
  if (fits) return;
  wrong_input(port, fmt::format("must have shape ({}), not {}", expected, to_string(shape)));
}

// An input as a value: whole numbers are known before it runs, others are the tape's.
Value bound(Tape& tape, const Port& port, const Tensor& tensor) {
  const DType dtype = held_in(port.type, fmt::format("the input '{}'", shown(port.name)));
  check_extents(port, tensor.shape());
  if (is_floating(tensor.dtype()) != is_floating(port.type)) {
    wrong_input(port, fmt::format("is of {}, but numbers of {} are given", name_of(port.type),
                                  name_of(tensor.dtype())));
  }
  Value value;
  value.type = port.type;
  if (dtype != DType::i64) {
    value.var = tape.input(port.name, dtype, tensor.shape());
    value.layout = plain_layout(tensor.shape().rank());
    value.given = std::make_shared<Known>(Known{port.type, tensor.to(dtype)});
    return value;
  }
  const auto known = make_known(port.type, tensor.shape());
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    const bool exact = tensor.dtype() == DType::i64;
    put(*known, i,
        Number{0, exact ? tensor.values<std::int64_t>()[static_cast<std::size_t>(i)]
                        : static_cast<std::int64_t>(tensor.item(i))});
  }
  value.known = known;
  return value;
}

Tensor as_bytes(const Tensor& numbers) {
  Tensor bytes(Type{DType::u8, numbers.shape()});
  for (std::int64_t i = 0; i < numbers.elements(); ++i) {
    bytes.values<std::uint8_t>()[static_cast<std::size_t>(i)] =
        static_cast<std::uint8_t>(numbers.item(i));
  }
  return bytes;
}

}  // namespace

std::vector<Output> run(const Graph& graph, const std::vector<Tensor>& inputs,
                        const Backend& backend) {
  if (inputs.size() != graph.inputs.size()) {
    std::string names;
    for (const Port& port : graph.inputs) {
      names += fmt::format("{}'{}'", names.empty() ? "" : ", ", shown(port.name));
    }
    throw usage_error("'{}' has {} inputs ({}), but {} {} given", shown(graph.path.string()),
                      graph.inputs.size(), names, inputs.size(), inputs.size() == 1 ? "is" : "are");
  }
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices, backend.precision});
  Recorder recorder(graph, tape, {});
  std::vector<NamedTensor> feed;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Port& port = graph.inputs[i];
    const Value value = bound(tape, port, inputs[i]);
    if (!value.known) feed.push_back({port.name, inputs[i].to(value.var.dtype())});
    recorder.bind(port.name, value);
  }
  recorder.run();
  std::vector<Var> computed;
  for (const Port& port : graph.outputs) {
    const Value& value = recorder.at(port.name);
    if (!value.known) computed.push_back(widened(arranged(value, plain_layout(value.rank()))));
  }
  std::vector<Tensor> results;
  if (!computed.empty()) {
    Program program = tape.compile(computed);
    results = program.run(feed);
  }
  std::vector<Output> answers;
  std::size_t next = 0;
  for (const Port& port : graph.outputs) {
    const Value& value = recorder.at(port.name);
    Tensor tensor = value.known ? value.known->numbers : results[next++];
    if (!value.known && (value.type == Element::i64 || value.type == Element::i32)) {
      tensor = tensor.to(DType::i64);  // whole numbers are floating on the tape
    }
    const bool bytes = value.type == Element::boolean || value.type == Element::u8;
    answers.push_back({port.name, bytes ? as_bytes(tensor) : tensor});
  }
  return answers;
}

PictureInput picture_input(const Graph& graph) {
  const std::string file = shown(graph.path.string());
  if (graph.inputs.size() != 1) {
    throw usage_error("'{}' has {} inputs; a picture is one. `predict --raw` takes several", file,
                      graph.inputs.size());
  }
  const Port& port = graph.inputs[0];
  if (!is_floating(port.type) || !port.ranked || port.extents.size() != 4) {
    throw usage_error(
        "the input '{}' of '{}' is no picture {{N, C, H, W}} of floating numbers; "
        "`predict --raw` takes any",
        shown(port.name), file);
  }
  const std::vector<std::int64_t>& e = port.extents;
  const auto colours = [](std::int64_t extent) { return extent == 1 || extent == 3; };
  PictureInput input;
  input.channels_last = !colours(e[1]) && colours(e[3]);
  const std::size_t channels = input.channels_last ? 3 : 1, height = input.channels_last ? 1 : 2;
  input.channels = std::max<std::int64_t>(0, e[channels]);
  input.height = std::max<std::int64_t>(0, e[height]);
  input.width = std::max<std::int64_t>(0, e[height + 1]);
  return input;
}

namespace {

// What a graph answers for an image on a tape.
struct Recorded {
  Var logits;
  Shape answer;  // of one picture
};

Recorded recorded(const Graph& graph, Var image, RecorderOptions options) {
  Recorder recorder(graph, image.tape(), std::move(options));
  recorder.bind(graph.inputs[0].name, picture_value(graph, image));
  recorder.run();
  const Port& port = graph.outputs[0];
  const Value& output = recorder.at(port.name);
  const Shape extents = extents_of(output);
  if (output.known || !output.batched) {
    throw usage_error(
        "the output '{}' of '{}' is {}, the same for every picture; name a value that is not with "
        "--outputs, or look at it with `predict --raw`",
        shown(port.name), shown(graph.path.string()), to_string(extents));
  }
  std::vector<std::int64_t> answer;
  for (int axis = 0; axis < extents.rank(); ++axis) {
    if (axis != output.batch_axis()) answer.push_back(extents[axis]);
  }
  const std::int64_t units = Shape(std::span<const std::int64_t>(answer)).elements();
  const bool classes = output.rank() > 1 && output.batch_axis() == 0 && units == extents[1];
  if (classes || output.rank() == 1) answer = {units};
  const Var flat = classes ? arranged(reshaped(output, {extents[0], units}, 0), {0, 1})
                           : reshape(arranged(output, ordered_layout(output)), {units});
  return {flat.dtype() == DType::f32 ? flat : cast(flat, DType::f32),
          Shape(std::span<const std::int64_t>(answer))};
}

// Two rows: an extent of 1 is never the batch by chance.
Var picture_on(Tape& tape, const ModelConfig& config) {
  return tape.input("image", DType::f32, config.image().with_leading(2));
}

}  // namespace

OnnxClassifier::OnnxClassifier(std::shared_ptr<const Graph> graph, ModelConfig config)
    : Classifier(config), graph_(std::move(graph)) {
  Tape tape(Device::cpu(), Mode::evaluation);
  answer_ =
      recorded(*graph_, picture_on(tape, config), parameters_.making([&](const auto&... made) {
        return add_parameter(made...);
      })).answer;
}

std::unique_ptr<Classifier> OnnxClassifier::redrawn(std::uint64_t seed) const {
  auto result = std::make_unique<OnnxClassifier>(graph_, config());
  PhiloxStream random(seed);
  const std::vector<ParameterRef> own = parameters(), fresh = result->parameters();
  for (std::size_t i = 0; i < own.size(); ++i) redraw(*own[i], *fresh[i], random);
  return result;
}

std::string OnnxClassifier::graph_file() const {
  return written(*graph_, [&](const std::string& name) { return parameters_.holds(name); });
}

Var OnnxClassifier::logits(Var image) const {
  return recorded(*graph_, image, parameters_.made()).logits;
}

namespace {

// Throws where the output is whole numbers: an answer that has no gradient.
void expect_floating(const Graph& graph) {
  const Element type = graph.outputs[0].type;  // 0 where the file does not say
  if (type == Element{} || is_floating(type)) return;
  throw usage_error(
      "the output '{}' of '{}' is of {}: an answer, no score per class; name a value before it "
      "with --outputs",
      shown(graph.outputs[0].name), shown(graph.path.string()), name_of(type));
}

void expect_classes(const Graph& graph, const Shape& answer) {
  const std::string name = shown(graph.outputs[0].name), file = shown(graph.path.string());
  if (answer.rank() != 1) {
    throw usage_error(
        "the output '{}' of '{}' is {} for each picture: no number per class; name a value that is "
        "with --outputs",
        name, file, to_string(answer));
  }
  if (answer[0] < 2) {
    throw usage_error(
        "the output '{}' of '{}' is one number per picture: there are no classes to tell apart",
        name, file);
  }
}

// A softmax that gives the output, with nothing behind it but changes of shape, is cut off: what is
// explained is a logit. So is a Sigmoid unless `kept`, which it has to be for numbers to be
// compared with one another.
void leave_out_softmax(Graph& graph, bool kept, std::vector<std::string>& left_out) {
  const Givers givers(graph);
  const std::string file = shown(graph.path.string()), output = shown(graph.outputs[0].name);
  std::string* reader = &graph.outputs[0].name;  // of the value that is looked at
  while (const Node* giver = givers.of(*reader)) {
    Node& node = graph.nodes[static_cast<std::size_t>(giver - graph.nodes.data())];
    if (node.op == "Sigmoid" && kept) {
      throw usage_error(
          "the output '{}' of '{}' is a Sigmoid: classes that do not exclude each other; to have "
          "'{}', the numbers before it, compared as scores of classes name it with --outputs",
          output, file, shown(node.inputs.at(0)));
    }
    if (node.op == "Softmax" || node.op == "LogSoftmax" || node.op == "Sigmoid") {
      left_out.push_back(
          fmt::format("node '{}' ({}) at its end is left out: what is explained are "
                      "the numbers before it",
                      shown(node.name), node.op));
      *reader = std::string(node.inputs.at(0));
      return;
    }
    if (!keeps_numbers(node)) return;
    reader = &node.inputs[0];
  }
}

}  // namespace

std::unique_ptr<OnnxClassifier> classifier_of(Graph graph, ModelConfig config,
                                              std::vector<std::string>& left_out, bool learns) {
  if (graph.outputs.empty()) throw usage_error("'{}' has no output", shown(graph.path.string()));
  if (graph.outputs.size() > 1) {
    left_out.push_back(fmt::format(
        "'{}' has {} outputs: the first, '{}', is taken for its scores; --outputs names "
        "another",
        shown(graph.path.string()), graph.outputs.size(), shown(graph.outputs[0].name)));
  }
  graph.outputs.resize(1);
  expect_floating(graph);
  Tape tape(Device::cpu(), Mode::evaluation);
  const Shape answer = recorded(graph, picture_on(tape, config), {.only_shapes = true}).answer;
  if (learns) expect_classes(graph, answer);
  const bool classes = answer.rank() == 1 && answer[0] > 1;
  leave_out_softmax(graph, classes && !learns, left_out);
  join_patterns(graph);
  config.classes = answer.elements();
  return std::make_unique<OnnxClassifier>(std::make_shared<const Graph>(std::move(graph)),
                                          std::move(config));
}

}  // namespace tapescope::onnx
