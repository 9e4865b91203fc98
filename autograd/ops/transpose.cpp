#include "autograd/ops/layout_op.h"

namespace tapescope {
namespace {

class Transpose final : public LayoutOp {
 public:
  explicit Transpose(const Shape& permutation) : permutation_(permutation) {}
  std::string_view name() const override { return "transpose"; }
  void attributes(AttributeVisitor& v) const override { v.visit("permutation", permutation_); }
  Types infer(std::span<const Type> t) const override {
    const int rank = t[0].shape.rank();
    unsigned seen = 0;
    for (std::int64_t axis : permutation_) seen |= axis < rank ? 1u << axis : 0u;
    if (permutation_.rank() != rank || seen != (1u << rank) - 1u) {
      throw usage_error("[transpose] {} is not an order of the {} axes of shape {}",
                        to_string(permutation_), rank, to_string(t[0].shape));
    }
    return {{t[0].dtype, shape_of(t[0]).out()}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(transpose_variants(), shape_of(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    Shape inverse = permutation_;
    for (int a = 0; a < permutation_.rank(); ++a) inverse[static_cast<int>(permutation_[a])] = a;
    v.give(0, record<Transpose>({v.cotangent()}, inverse));
  }
  Role role(int) const override { return Role::signal; }
  bool rows_independent() const override { return permutation_.rank() > 0 && permutation_[0] == 0; }
  bool channels_last() const override { return false; }

 private:
  TransposeShape shape_of(const Type& x) const {
    TransposeShape shape{x.dtype, x.shape, {}};
    for (int a = 0; a < x.shape.rank(); ++a) {
      shape.permutation[static_cast<std::size_t>(a)] = static_cast<std::uint8_t>(permutation_[a]);
    }
    return shape;
  }
  Shape permutation_;
};

}  // namespace

Var transpose(Var x, std::span<const int> permutation) {
  std::vector<std::int64_t> axes(permutation.begin(), permutation.end());
  return record<Transpose>({x}, Shape(std::span<const std::int64_t>(axes)));
}

std::vector<Sample> transpose_samples() {
  return {
      {"channels first", std::make_shared<Transpose>(Shape{0, 3, 1, 2}), {normal({3, 4, 5, 6})}},
      {"channels last", std::make_shared<Transpose>(Shape{0, 2, 3, 1}), {normal({3, 4, 5, 6})}},
      {"matrix", std::make_shared<Transpose>(Shape{1, 0}), {fixed_extent(normal({17, 33}))}},
      {"extent 1", std::make_shared<Transpose>(Shape{0, 2, 1}), {normal({3, 1, 7})}},
      {"empty batch", std::make_shared<Transpose>(Shape{0, 2, 1}), {normal({0, 2, 7})}},
  };
}

}  // namespace tapescope
