#include "tools/onnx/patterns.h"

#include <cmath>
#include <optional>

#include "tools/files/text_file.h"

namespace tapescope::onnx {
namespace {

// A pattern is written as the expression it matches: ops with their operands, numbers, and names,
// each of which stands for one value or, where it is called eps, for any one number. g=Op(..) names
// what an op gives, [a=v] asks for an attribute. Sums and products match in either order.
struct Pattern {
  const char* from;
  const char* to;
};
constexpr Pattern kPatterns[] = {
    {"Mul(x, Sigmoid(x))", "Swish(x)"},
    {"Mul(x, HardSigmoid[alpha=0.166667,beta=0.5](x))", "HardSwish(x)"},
    {"Div(Mul(x, Clip(Add(x, 3), 0, 6)), 6)", "HardSwish(x)"},
    {"Mul(x, Div(Clip(Add(x, 3), 0, 6), 6))", "HardSwish(x)"},
    {"Mul(Mul(x, Add(Erf(Div(x, 1.414214)), 1)), 0.5)", "Gelu(x)"},
    {"Mul(Mul(x, 0.5), Add(Erf(Div(x, 1.414214)), 1))", "Gelu(x)"},
    {"Mul(Mul(x, 0.5), Add(Erf(Mul(x, 0.707107)), 1))", "Gelu(x)"},
    {"Mul(x, Mul(0.5, Add(Erf(Div(x, 1.414214)), 1)))", "Gelu(x)"},
    {"Add(Mul(Div(Sub(x, ReduceMean[axes=-1](x)), "
     "Sqrt(Add(ReduceMean[axes=-1](Pow(Sub(x, ReduceMean[axes=-1](x)), 2)), eps))), g), b)",
     "LayerNormalization(x, g, b)"},
    // As in squeeze and excitation: what is let through, and how much of it.
    {"Mul(x, g=Sigmoid(y))", "Gate(x, g)"},
    {"Mul(x, g=HardSigmoid(y))", "Gate(x, g)"},
    {"Mul(x, g=Div(Clip(Add(y, 3), 0, 6), 6))", "Gate(x, g)"},
};

struct Term {
  std::string op, name;  // op: of a node; name: of a value; none: a number
  double number = 0;
  std::vector<std::pair<std::string, double>> attributes;
  std::vector<Term> operands;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}
  Term term() {
    skip();
    Term term;
    const std::string word = take();
    if (word[0] >= 'a' && next('=')) {
      term = this->term();
      term.name = word;
    } else if (word[0] >= 'A' && word[0] <= 'Z') {
      term.op = word;
      if (next('[')) {
        do {
          const std::string name = take();
          next('=');
          term.attributes.emplace_back(name, *number_in(take()));
        } while (next(','));
        next(']');
      }
      next('(');
      do {
        term.operands.push_back(this->term());
      } while (next(','));
      next(')');
    } else if (const std::optional<double> number = number_in(word)) {
      term.number = *number;
    } else {
      term.name = word;
    }
    return term;
  }

 private:
  void skip() {
    while (!text_.empty() && text_[0] == ' ') text_.remove_prefix(1);
  }
  bool next(char c) {
    skip();
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::string take() {
    const std::size_t end = std::min(text_.find_first_of(",()[]= "), text_.size());
    const std::string word(text_.substr(0, end));
    text_.remove_prefix(end);
    return word;
  }
  std::string_view text_;
};

struct Bindings {
  std::map<std::string, std::string> values;
  std::optional<double> epsilon;
};

class Matcher {
 public:
  explicit Matcher(const Graph& graph) : graph_(graph) {
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      for (const std::string& output : graph.nodes[n].outputs) writers_[output] = n;
    }
  }
  bool node(const Node& node, const Term& term, Bindings& bound) const {
    if (node.op != term.op || !node.domain.empty() || node.outputs.size() != 1) return false;
    for (const auto& [name, value] : term.attributes) {
      if (!attribute(node, name, value)) return false;
    }
    if (node.inputs.size() != term.operands.size()) return false;
    const Bindings before = bound;
    if (operands(node, term, bound, false)) return true;
    bound = before;
    if (node.op != "Add" && node.op != "Mul") return false;
    if (operands(node, term, bound, true)) return true;
    bound = before;
    return false;
  }

 private:
  static bool near(double a, double b) {
    return std::abs(a - b) <= 1e-4 * std::max(1.0, std::abs(b));
  }
  static bool attribute(const Node& node, const std::string& name, double value) {
    const auto at = node.attributes.find(name);
    // Where a HardSigmoid does not say its beta it is a half; of the others nothing usual is asked.
    if (at == node.attributes.end()) return name == "beta" && near(0.5, value);
    const Attribute& a = at->second;
    if (!a.ints.empty()) return a.ints.size() == 1 && near(static_cast<double>(a.ints[0]), value);
    return near(static_cast<double>(a.f), value);
  }
  bool operands(const Node& node, const Term& term, Bindings& bound, bool swapped) const {
    for (std::size_t i = 0; i < term.operands.size(); ++i) {
      const std::size_t k = swapped ? term.operands.size() - 1 - i : i;
      if (!value(node.inputs[k], term.operands[i], bound)) return false;
    }
    return true;
  }
  bool value(const std::string& name, const Term& term, Bindings& bound) const {
    if (!term.op.empty()) {
      const auto writer = writers_.find(name);
      if (writer == writers_.end() || !node(graph_.nodes[writer->second], term, bound))
        return false;
      return term.name.empty() || bound.values.emplace(term.name, name).first->second == name;
    }
    if (!term.name.empty() && term.name != "eps") {
      return bound.values.emplace(term.name, name).first->second == name;
    }
    const std::optional<double> number = number_of(name);
    if (!number) return false;
    if (term.name == "eps") bound.epsilon = *number;
    return term.name == "eps" || near(*number, term.number);
  }
  std::optional<double> number_of(const std::string& name) const {
    KnownRef known;
    if (const auto at = graph_.initialisers.find(name); at != graph_.initialisers.end()) {
      known = at->second;
    } else if (const auto writer = writers_.find(name); writer != writers_.end()) {
      const Node& node = graph_.nodes[writer->second];
      const auto value = node.attributes.find("value");
      if (node.op == "Constant" && value != node.attributes.end()) known = value->second.tensor;
    }
    if (known == nullptr || known->elements() != 1) return std::nullopt;
    return known->numbers.item(0);
  }
  const Graph& graph_;
  std::unordered_map<std::string, std::size_t> writers_;
};

}  // namespace

int join_patterns(Graph& graph) {
  static const auto patterns = [] {
    std::vector<std::pair<Term, Term>> all;
    for (const Pattern& p : kPatterns) all.emplace_back(Parser(p.from).term(), Parser(p.to).term());
    return all;
  }();
  const Matcher matcher(graph);
  int joined = 0;
  // Readers before what they read, so that the largest pattern is found first.
  for (std::size_t n = graph.nodes.size(); n-- > 0;) {
    for (const auto& [from, to] : patterns) {
      Bindings bound;
      if (!matcher.node(graph.nodes[n], from, bound)) continue;
      Node& node = graph.nodes[n];
      node.op = to.op;
      node.attributes.clear();
      node.inputs.clear();
      for (const Term& operand : to.operands) node.inputs.push_back(bound.values[operand.name]);
      if (bound.epsilon) {
        Attribute epsilon;
        epsilon.f = static_cast<float>(*bound.epsilon);
        node.attributes["epsilon"] = epsilon;
      }
      ++joined;
      break;
    }
  }
  return joined;
}

}  // namespace tapescope::onnx
