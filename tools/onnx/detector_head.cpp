#include "tools/onnx/detector_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <unordered_map>

#include "tools/files/text_file.h"

namespace tapescope::onnx {
namespace {

// Ops that only move elements.
bool moves(const Node& node) {
  static const std::set<std::string, std::less<>> ops = {"Concat", "Transpose", "Slice", "Split",
                                                         "Unsqueeze"};
  return keeps_numbers(node) || (node.domain.empty() && ops.contains(node.op));
}

// "" where a node has not so many.
const std::string& input_of(const Node& node, std::size_t i) {
  static const std::string none;
  return i < node.inputs.size() ? node.inputs[i] : none;
}

class Producers : public Givers {
 public:
  using Givers::Givers;
  // The same, past Identity and the like.
  const Node* past_names(const std::string& value) const {
    const Node* node = of(value);
    while (node != nullptr && (node->op == "Identity" || node->op == "Cast")) {
      node = of(input_of(*node, 0));
    }
    return node;
  }
  bool gives(const std::string& value, std::string_view op) const {
    const Node* node = past_names(value);
    return node != nullptr && node->op == op;
  }
};

// Values like others, with the Sigmoids before the end passed by.
class Bared {
 public:
  Bared(Graph& graph, DetectorHead& head) : graph_(graph), head_(head), producers_(graph) {}

  std::string of(const std::string& value, int depth = 0) {
    if (const auto known = done_.find(value); known != done_.end()) return known->second;
    std::string result = value;
    const Node* producer = producers_.of(value);
    if (producer != nullptr && producer->op == "Sigmoid") {
      result = input_of(*producer, 0);
      ++head_.sigmoids;
      collect(result, depth);
    } else if (producer != nullptr && moves(*producer) && depth < kDeepest) {
      result = moved(*producer, value, depth + 1);
    }
    return done_[value] = result;
  }
  // Only now: what was found points into the list.
  void append() {
    for (Node& node : made_) graph_.nodes.push_back(std::move(node));
  }

 private:
  static std::size_t moved_inputs(const Node& node) {
    return node.op == "Concat" ? node.inputs.size() : std::min<std::size_t>(1, node.inputs.size());
  }
  std::string moved(const Node& producer, const std::string& value, int depth) {
    Node copy = producer;
    for (std::size_t i = 0; i < moved_inputs(copy); ++i) {
      copy.inputs[i] = of(copy.inputs[i], depth);
    }
    if (copy.inputs == producer.inputs) return value;
    copy.name += "/bare";
    std::string result = value + "/bare";
    while (producers_.of(result) != nullptr) result += "'";
    for (std::string& output : copy.outputs) output = output == value ? result : "";
    made_.push_back(std::move(copy));
    return result;
  }
  // The layers behind a value, in the order in which it has their numbers.
  void collect(const std::string& value, int depth) {
    const Node* producer = producers_.of(value);
    if (producer == nullptr || depth == kDeepest || ++steps_ > kMostSteps) return;
    if (!moves(*producer)) {
      head_.layers.push_back(value);
      return;
    }
    for (std::size_t i = 0; i < moved_inputs(*producer); ++i) {
      collect(producer->inputs[i], depth + 1);
    }
  }

  static constexpr int kDeepest = 32;
  static constexpr int kMostSteps = 4096;
  Graph& graph_;
  DetectorHead& head_;
  Producers producers_;
  std::unordered_map<std::string, std::string> done_;
  std::vector<Node> made_;
  int steps_ = 0;
};

// The last Concat of boxes and Sigmoids: the answers of all cells, of Ultralytics' heads.
const Node* answers_of_all(const Graph& graph, const Producers& producers) {
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    if (node->op == "Concat" && producers.gives(input_of(*node, 1), "Sigmoid")) {
      return &*node;
    }
  }
  return nullptr;
}

// (anchor - lt, anchor + rb) or, of these, middle and size: what both come from.
void find_distances(const Producers& producers, const std::string& boxes, DetectorHead& head) {
  const Node* node = producers.past_names(boxes);
  if (node != nullptr && node->op == "Mul") {  // by the strides
    for (const std::string& factor : std::array{input_of(*node, 0), input_of(*node, 1)}) {
      if (producers.gives(factor, "Concat")) node = producers.past_names(factor);
    }
  }
  if (node == nullptr || node->op != "Concat" || node->inputs.size() != 2) return;
  const Node* first = producers.past_names(node->inputs[0]);
  const Node* second = producers.past_names(node->inputs[1]);
  if (first == nullptr || second == nullptr) return;
  head.corners = first->op == "Sub" && second->op == "Add";
  const Node* upper = head.corners ? first : nullptr;
  if (!head.corners && second->op == "Sub") upper = producers.past_names(input_of(*second, 1));
  if (upper == nullptr || upper->op != "Sub") return;
  const Node* part = producers.past_names(input_of(*upper, 1));
  if (part == nullptr || (part->op != "Slice" && part->op != "Split")) return;
  head.distances = input_of(*part, 0);
}

}  // namespace

Choice choice_of(const Graph& graph) {
  const std::vector<bool> needed = needed_nodes(graph);
  Choice choice = Choice::none;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const std::string& op = graph.nodes[n].op;
    if (needed[n] && op == "NonMaxSuppression") return Choice::suppression;
    if (needed[n] && op == "TopK") choice = Choice::surest;
  }
  return choice;
}

DetectorHead bare_head(Graph& graph) {
  DetectorHead head;
  std::string answers = graph.outputs.at(0).name;
  const Producers producers(graph);
  if (choice_of(graph) != Choice::none) {
    const Node* all = answers_of_all(graph, producers);
    if (all == nullptr) {
      throw usage_error(
          "'{}' chooses boxes within the graph, and no value joins boxes and Sigmoids before that: "
          "name the one that holds the answers of all cells with --outputs",
          shown(graph.path.string()));
    }
    answers = all->outputs[0];
    head.cuts.push_back(fmt::format(
        "what follows node '{}' ({}) is left out: it chooses among the boxes, which has no "
        "gradient",
        shown(all->name), all->op));
  }
  const std::vector<bool> needed = needed_nodes(graph);
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    head.exponential = head.exponential || (needed[n] && graph.nodes[n].op == "Exp");
  }
  const Node* end = producers.past_names(answers);
  if (end != nullptr && end->op == "Transpose") end = producers.past_names(input_of(*end, 0));
  const bool joined = end != nullptr && end->op == "Concat" && !end->inputs.empty();
  if (joined) find_distances(producers, end->inputs[0], head);
  Bared bared(graph, head);
  head.answers = bared.of(answers);
  if (joined && bared.of(end->inputs.back()) != end->inputs.back()) {
    head.scores = bared.of(end->inputs.back());
  }
  bared.append();
  Port port;
  port.name = head.answers;
  port.type = graph.outputs[0].type;
  graph.outputs = {port};
  return head;
}

std::string shared_value(const Graph& graph, const std::string& layer, std::int64_t scores) {
  constexpr int kFarthest = 64;
  const Producers producers(graph);
  const std::vector<bool> needed = needed_nodes(graph);
  std::unordered_map<std::string, int> readers;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    if (!needed[n]) continue;
    for (const std::string& input : graph.nodes[n].inputs) ++readers[input];
  }
  const Node* node = producers.of(layer);
  for (int step = 0; node != nullptr && node->op != "Conv" && step < kFarthest; ++step) {
    node = producers.of(input_of(*node, 0));
  }
  if (node == nullptr || node->op != "Conv") return "";
  const auto weight = graph.initialisers.find(input_of(*node, 1));
  std::string value = input_of(*node, 0);
  if (weight != graph.initialisers.end() && weight->second->shape().rank() > 0 &&
      weight->second->shape()[0] != scores) {
    return value;
  }
  for (int step = 0; step < kFarthest; ++step) {
    if (readers[value] > 1) return value;
    node = producers.of(value);
    if (node == nullptr) return "";
    value = input_of(*node, 0);
  }
  return "";
}

Parts parts_of(const Graph& graph, const std::vector<std::string>& shared) {
  std::set<std::string> before(shared.begin(), shared.end()), enlarged;
  for (std::size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    const bool leads = std::any_of(node.outputs.begin(), node.outputs.end(),
                                   [&](const std::string& v) { return before.contains(v); });
    if (leads) before.insert(node.inputs.begin(), node.inputs.end());
  }
  Parts parts;
  for (const Node& node : graph.nodes) {
    const bool larger = node.op == "Resize" || node.op == "Upsample" ||
                        node.op == "ConvTranspose" ||
                        std::any_of(node.inputs.begin(), node.inputs.end(),
                                    [&](const std::string& v) { return enlarged.contains(v); });
    const bool leads = std::any_of(node.outputs.begin(), node.outputs.end(),
                                   [&](const std::string& v) { return before.contains(v); });
    if (larger) enlarged.insert(node.outputs.begin(), node.outputs.end());
    std::set<std::string>& part = !leads ? parts.head : larger ? parts.neck : parts.backbone;
    for (const std::string& input : node.inputs) {
      if (graph.initialisers.contains(input)) part.insert(input);
    }
  }
  return parts;
}

}  // namespace tapescope::onnx
