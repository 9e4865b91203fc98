#include "autograd/program/bounds.h"

namespace tapescope {

std::optional<Bounds> bounds_of(const Op& op) {
  struct Parameters final : AttributeVisitor {
    double p0 = 0, p1 = 0;  // left out where they are zero
    void visit(std::string_view name, double value) override { (name == "p0" ? p0 : p1) = value; }
    void visit(std::string_view, std::int64_t) override {}
    void visit(std::string_view, std::string_view) override {}
    void visit(std::string_view, const Shape&) override {}
  } parameters;
  if (op.name() == "relu") return Bounds{.least = 0};
  if (op.name() != "clamp" && op.name() != "inside") return std::nullopt;
  op.attributes(parameters);
  return Bounds{parameters.p0, parameters.p1};
}

}  // namespace tapescope
