#include "autograd/op.h"

#include "autograd/node.h"

namespace tapescope {
namespace {

class Describer final : public AttributeVisitor {
 public:
  explicit Describer(std::string& text) : text_(text) {}
  void visit(std::string_view name, std::int64_t value) override {
    text_ += fmt::format(" {}={}", name, value);
  }
  void visit(std::string_view name, double value) override {
    text_ += fmt::format(" {}={}", name, value);
  }
  void visit(std::string_view name, std::string_view value) override {
    text_ += fmt::format(" {}={}", name, value);
  }
  void visit(std::string_view name, const Shape& value) override {
    text_ += fmt::format(" {}={}", name, to_string(value));
  }

 private:
  std::string& text_;
};

}  // namespace

std::vector<Var> Op::decompose(Tape&, std::span<const Var>) const { return {}; }
std::vector<Var> Op::channel_affine(std::span<const Var>) const { return {}; }

int Op::weight_operand(unsigned active_operands) const {
  for (int i = 0; i < kMostOperands; ++i) {
    if (role(i) == Role::weight) return (active_operands >> i & 1u) == 0 ? i : -1;
  }
  return -1;
}

std::string describe(const Op& op) {
  std::string text(op.name());
  Describer describer(text);
  op.attributes(describer);
  return text;
}

Cost memory_cost(std::span<const Type> operands, std::span<const Type> outputs,
                 double flops_per_output_element) {
  Cost cost;
  for (const Type& type : operands) cost.bytes += static_cast<double>(type.bytes());
  for (const Type& type : outputs) {
    cost.bytes += static_cast<double>(type.bytes());
    cost.flops += static_cast<double>(type.elements()) * flops_per_output_element;
  }
  return cost;
}

}  // namespace tapescope
